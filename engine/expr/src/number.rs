//! Comparing numbers of different types by their mathematical value, as CEL
//! asks for: converting to `f64` first would make 2^63 - 1 equal to 2^63.

use crate::value::Value;
use std::cmp::Ordering;

/// 2^63 and 2^64, the first doubles beyond each integer type.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

/// A number of any of the three types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Int(i64),
    Uint(u64),
    Double(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(value) => Some(Number::Int(*value)),
            Value::Uint(value) => Some(Number::Uint(*value)),
            Value::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    pub(crate) fn equals(self, other: Number) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }

    /// None when one of them is NaN.
    pub(crate) fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
            (Number::Double(a), b) => b.compare_double(a).map(Ordering::reverse),
            (a, Number::Double(b)) => a.compare_double(b),
            (a, b) => Some(a.wide().cmp(&b.wide())),
        }
    }

    fn wide(self) -> i128 {
        match self {
            Number::Int(value) => i128::from(value),
            Number::Uint(value) => i128::from(value),
            Number::Double(value) => value as i128,
        }
    }

    /// An integer against a double: by whole parts, then by the fraction.
    fn compare_double(self, double: f64) -> Option<Ordering> {
        if double.is_nan() {
            return None;
        }
        if double >= TWO_64 {
            return Some(Ordering::Less);
        }
        if double < -TWO_63 {
            return Some(Ordering::Greater);
        }
        let whole = double.trunc();
        let by_whole = self.wide().cmp(&(whole as i128));
        let by_fraction = 0.0_f64.partial_cmp(&(double - whole))?;
        Some(by_whole.then(by_fraction))
    }
}

/// The double as an integer, when it is one and fits.
pub(crate) fn exact_i64(value: f64) -> Option<i64> {
    let fits = (-TWO_63..TWO_63).contains(&value) && value.trunc() == value;
    fits.then_some(value as i64)
}

/// The double as an unsigned integer, when it is one and fits.
pub(crate) fn exact_u64(value: f64) -> Option<u64> {
    let fits = (0.0..TWO_64).contains(&value) && value.trunc() == value;
    fits.then_some(value as u64)
}

/// The double cut to an integer, when that fits. CEL excludes -2^63 itself.
pub(crate) fn truncate_i64(value: f64) -> Option<i64> {
    (value > -TWO_63 && value < TWO_63).then_some(value as i64)
}

/// The double cut to an unsigned integer, when that fits.
pub(crate) fn truncate_u64(value: f64) -> Option<u64> {
    (value > -1.0 && value < TWO_64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_where_doubles_are_coarse() {
        let max = Number::Int(i64::MAX);
        assert_eq!(max.compare(Number::Double(TWO_63)), Some(Ordering::Less));
        assert_eq!(Number::Uint(u64::MAX).compare(Number::Double(TWO_64)), Some(Ordering::Less));
        assert_eq!(Number::Int(-1).compare(Number::Uint(0)), Some(Ordering::Less));
        assert_eq!(Number::Int(-1).compare(Number::Double(-1.5)), Some(Ordering::Greater));
        assert_eq!(Number::Int(1).compare(Number::Double(1.5)), Some(Ordering::Less));
        assert_eq!(Number::Int(1).compare(Number::Double(f64::NAN)), None);
        let min = Number::Double(f64::NEG_INFINITY);
        assert_eq!(Number::Int(i64::MIN).compare(min), Some(Ordering::Greater));
    }
}

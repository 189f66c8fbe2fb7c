//! CEL's standard functions.

use super::env::Type;
use super::error::{EvalError, EvalFault};
use super::eval::{Eval, Evaluated};
use super::node::{Function, TimePart};
use super::operand::{Operand, no_overload};
use crate::json::{self, JsonKind};
use crate::msgpack;
use crate::number;
use crate::time::{Duration, Timestamp};
use crate::value::Value;
use regex::Regex;

/// Bytes a compiled regular expression may take.
const PATTERN_BYTES: usize = 64 << 10;

/// What compiling a pattern that is not constant costs, in bytes handled.
const PATTERN_COST: usize = 16 << 10;

/// A regular expression of bounded size.
pub(super) fn pattern(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).nest_limit(32).build()
}

/// Calls `function` on its first value (the target, if it has one) and maybe a
/// second.
pub(super) fn call<'a>(
    function: Function,
    first: Operand<'a>,
    second: Option<Operand<'a>>,
    eval: &mut Eval<'_, 'a>,
) -> Evaluated<'a> {
    if function == Function::Merge {
        return merge(first, second.unwrap_or(Operand::Null), eval);
    }
    let result = match (function, &first, &second) {
        (Function::Dyn, ..) => return Ok(first),
        (Function::TypeOf, ..) => Some(Operand::Type(first.kind())),
        (Function::Size, ..) => size(&first, eval)?.map(int),
        (Function::Time(part), _, zone) => time_part(part, &first, zone.as_ref())?.map(Operand::Int),
        (Function::Bool, ..) => to_bool(&first)?,
        (Function::Int, ..) => to_int(&first)?,
        (Function::Uint, ..) => to_uint(&first)?,
        (Function::Double, ..) => to_double(&first)?,
        (Function::Str, ..) => return to_str(first),
        (Function::Bytes, ..) => return to_bytes(first),
        (Function::Timestamp, ..) => to_timestamp(&first)?,
        (Function::Duration, ..) => to_duration(&first)?,
        (_, _, Some(second)) => text_function(function, &first, second, eval)?,
        _ => None,
    };
    result.ok_or_else(|| match &second {
        Some(second) => no_overload(name_of(function), &[&first, second]),
        None => no_overload(name_of(function), &[&first]),
    })
}

pub(super) fn name_of(function: Function) -> &'static str {
    let found = Function::ALL.iter().find(|(_, _, f)| *f == function);
    found.map_or("function", |(name, ..)| name)
}

fn int<'a>(len: usize) -> Operand<'a> {
    Operand::Int(i64::try_from(len).unwrap_or(i64::MAX))
}

fn size(of: &Operand<'_>, eval: &mut Eval<'_, '_>) -> Result<Option<usize>, EvalError> {
    if let Some(text) = of.as_str() {
        return Ok(Some(text.chars().count()));
    }
    Ok(match of {
        Operand::MsgPack(bytes) => {
            let mut reader = msgpack::Reader::new(bytes);
            let len = if of.kind() == Type::Map { reader.read_map_header() } else { reader.read_list_header() };
            Some(len?)
        }
        Operand::Json(bytes) => {
            eval.charge(bytes.len())?;
            Some(json_len(&mut json::Reader::new(bytes))?)
        }
        _ => match of.compound() {
            Some(Value::List(list)) => Some(list.len()),
            Some(Value::Map(map)) => Some(map.len()),
            Some(Value::Bytes(bytes)) => Some(bytes.len()),
            _ => None,
        },
    })
}

fn json_len(reader: &mut json::Reader<'_>) -> Result<usize, EvalError> {
    let mut len = 0;
    if reader.peek()? == JsonKind::Map {
        reader.enter_map()?;
        while reader.next_key()?.is_some() {
            reader.skip_value()?;
            len += 1;
        }
    } else {
        reader.enter_list()?;
        while reader.next_item()? {
            reader.skip_value()?;
            len += 1;
        }
    }
    Ok(len)
}

/// The entries of the first map, with those of the second put into it.
fn merge<'a>(first: Operand<'a>, second: Operand<'a>, eval: &mut Eval<'_, 'a>) -> Evaluated<'a> {
    eval.charge(first.weight().saturating_add(second.weight()))?;
    let (first, second) = (first.decoded(eval.limits)?, second.decoded(eval.limits)?);
    let (Some(Value::Map(into)), Some(Value::Map(from))) = (first.compound(), second.compound()) else {
        return Err(no_overload("merge", &[&first, &second]));
    };
    let mut merged = into.clone();
    for (key, value) in from.iter() {
        merged.insert(key.clone(), value.clone());
    }
    Ok(Operand::Own(Value::Map(merged)))
}

fn text_function<'a>(
    function: Function,
    text: &Operand<'a>,
    other: &Operand<'a>,
    eval: &mut Eval<'_, 'a>,
) -> Result<Option<Operand<'a>>, EvalError> {
    let (Some(text), Some(other)) = (text.as_str(), other.as_str()) else {
        return Ok(None);
    };
    let found = match function {
        Function::Contains => text.contains(other),
        Function::StartsWith => text.starts_with(other),
        Function::EndsWith => text.ends_with(other),
        Function::Matches => {
            eval.charge(PATTERN_COST.saturating_add(other.len().saturating_mul(64)))?;
            eval.charge(text.len().saturating_mul(4))?;
            match pattern(other) {
                Ok(pattern) => pattern.is_match(text),
                Err(_) => return Err(EvalError::with(EvalFault::BadPattern, clip(other))),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Operand::Bool(found)))
}

type Converted<'a> = Result<Option<Operand<'a>>, EvalError>;

fn to_bool<'a>(from: &Operand<'_>) -> Converted<'a> {
    match (from, from.as_str()) {
        (Operand::Bool(value), _) => Ok(Some(Operand::Bool(*value))),
        (_, Some("true" | "True" | "TRUE" | "t" | "1")) => Ok(Some(Operand::Bool(true))),
        (_, Some("false" | "False" | "FALSE" | "f" | "0")) => Ok(Some(Operand::Bool(false))),
        (_, Some(text)) => Err(bad(text)),
        _ => Ok(None),
    }
}

fn to_int<'a>(from: &Operand<'_>) -> Converted<'a> {
    let value = match (from, from.as_str()) {
        (Operand::Int(value), _) => Some(*value),
        (Operand::Uint(value), _) => i64::try_from(*value).ok(),
        (Operand::Double(value), _) => number::truncate_i64(*value),
        (Operand::Timestamp(time), _) => Some(time.seconds()),
        (_, Some(text)) => {
            return text.parse().map(|n| Some(Operand::Int(n))).map_err(|_| bad(text));
        }
        _ => return Ok(None),
    };
    fits(value.map(Operand::Int))
}

fn to_uint<'a>(from: &Operand<'_>) -> Converted<'a> {
    let value = match (from, from.as_str()) {
        (Operand::Uint(value), _) => Some(*value),
        (Operand::Int(value), _) => u64::try_from(*value).ok(),
        (Operand::Double(value), _) => number::truncate_u64(*value),
        (_, Some(text)) => {
            return text.parse().map(|n| Some(Operand::Uint(n))).map_err(|_| bad(text));
        }
        _ => return Ok(None),
    };
    fits(value.map(Operand::Uint))
}

fn to_double<'a>(from: &Operand<'_>) -> Converted<'a> {
    Ok(Some(Operand::Double(match (from, from.as_str()) {
        (Operand::Double(value), _) => *value,
        (Operand::Int(value), _) => *value as f64,
        (Operand::Uint(value), _) => *value as f64,
        (_, Some(text)) => text.parse().map_err(|_| bad(text))?,
        _ => return Ok(None),
    })))
}

fn to_str(from: Operand<'_>) -> Evaluated<'_> {
    let text = match &from {
        Operand::Bool(value) => value.to_string(),
        Operand::Int(value) => value.to_string(),
        Operand::Uint(value) => value.to_string(),
        Operand::Double(value) => double_text(*value),
        Operand::Timestamp(time) => time.to_string(),
        Operand::Duration(span) => span.to_string(),
        _ => match (from.as_str(), from.as_bytes()) {
            (Some(_), _) => return Ok(from),
            (_, Some(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => return Ok(Operand::text(text)),
                Err(_) => return Err(bad("bytes that are not UTF-8")),
            },
            _ => return Err(no_overload("string", &[&from])),
        },
    };
    Ok(Operand::text(text))
}

/// The shortest text that reads back as the same double, as Go's `%g` writes
/// it: CEL's reference implementations do.
fn double_text(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if size == 0.0 || (1e-4..1e21).contains(&size) {
        format!("{value}")
    } else {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                format!("{digits}e{sign}{exponent:0>2}")
            }
            None => text,
        }
    }
}

fn to_bytes(from: Operand<'_>) -> Evaluated<'_> {
    if from.as_bytes().is_some() {
        return Ok(from);
    }
    match from.as_str() {
        Some(text) => Ok(Operand::Own(Value::Bytes(text.as_bytes().into()))),
        None => Err(no_overload("bytes", &[&from])),
    }
}

fn to_timestamp<'a>(from: &Operand<'_>) -> Converted<'a> {
    let time = match (from, from.as_str()) {
        (Operand::Timestamp(time), _) => Some(*time),
        (Operand::Int(seconds), _) => Timestamp::new(*seconds, 0),
        (_, Some(text)) => Some(Timestamp::parse(text).ok_or_else(|| bad(text))?),
        _ => return Ok(None),
    };
    fits(time.map(Operand::Timestamp))
}

fn to_duration<'a>(from: &Operand<'_>) -> Converted<'a> {
    match (from, from.as_str()) {
        (Operand::Duration(span), _) => Ok(Some(Operand::Duration(*span))),
        (_, Some(text)) => {
            let span = Duration::parse(text).ok_or_else(|| bad(text))?;
            Ok(Some(Operand::Duration(span)))
        }
        _ => Ok(None),
    }
}

fn time_part(part: TimePart, of: &Operand<'_>, zone: Option<&Operand<'_>>) -> Result<Option<i64>, EvalError> {
    match (of, zone) {
        (Operand::Timestamp(time), None) => Ok(Some(calendar(part, *time, 0))),
        (Operand::Timestamp(time), Some(zone)) => match zone.as_str() {
            Some(name) => Ok(Some(calendar(part, *time, offset(name)?))),
            None => Ok(None),
        },
        (Operand::Duration(span), None) => Ok(clock(part, span.as_nanos())),
        _ => Ok(None),
    }
}

fn calendar(part: TimePart, time: Timestamp, offset: i64) -> i64 {
    let civil = time.civil(offset);
    match part {
        TimePart::FullYear => civil.year,
        TimePart::Month => civil.month - 1,
        TimePart::Date => civil.day,
        TimePart::DayOfMonth => civil.day - 1,
        TimePart::DayOfWeek => civil.weekday,
        TimePart::DayOfYear => civil.day_of_year,
        TimePart::Hours => civil.hour,
        TimePart::Minutes => civil.minute,
        TimePart::Seconds => civil.second,
        TimePart::Milliseconds => i64::from(time.subsec_nanos() / 1_000_000),
    }
}

/// The whole span in that unit; for milliseconds what is beyond the seconds.
fn clock(part: TimePart, nanos: i64) -> Option<i64> {
    match part {
        TimePart::Hours => Some(nanos / 3_600_000_000_000),
        TimePart::Minutes => Some(nanos / 60_000_000_000),
        TimePart::Seconds => Some(nanos / 1_000_000_000),
        TimePart::Milliseconds => Some(nanos / 1_000_000 % 1_000),
        _ => None,
    }
}

/// Seconds east of UTC of `UTC`, `+01:00`, `-02:30` or `02:00`. Names of places
/// would need the time zone database.
fn offset(zone: &str) -> Result<i64, EvalError> {
    let unknown = || EvalError::with(EvalFault::BadConversion, format!("time zone {}", clip(zone)));
    if matches!(zone, "UTC" | "Z" | "") {
        return Ok(0);
    }
    let (sign, text) = match zone.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(unknown)?;
    let part = |text: &str, below: i64| {
        let value = text.parse::<u8>().ok().map(i64::from);
        value.filter(|value| text.len() == 2 && *value < below)
    };
    match (part(hours, 24), part(minutes, 60)) {
        (Some(hours), Some(minutes)) => Ok(sign * (hours * 3600 + minutes * 60)),
        _ => Err(unknown()),
    }
}

fn fits<'a>(value: Option<Operand<'a>>) -> Converted<'a> {
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(EvalError::new(EvalFault::Overflow)),
    }
}

#[cold]
fn bad(text: &str) -> EvalError {
    EvalError::with(EvalFault::BadConversion, clip(text))
}

/// Enough of `text` to recognise it in a message.
fn clip(text: &str) -> &str {
    const MOST: usize = 64;
    let end = (0..=text.len().min(MOST)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

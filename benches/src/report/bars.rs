//! Horizontal bars as SVG, from nothing, so that their lengths compare as the numbers do.

use std::fmt::Write;

use super::figure::thousands;
use super::plot::{Axis, FAINT, INK, SOFT, begin, write_text};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 44.0;
const ROW_HEIGHT: f64 = 27.0;
const BAR_HEIGHT: f64 = 17.0;

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    /// Above 0; what is not has no bar.
    pub(crate) value: f64,
}

/// The picture; the longest bar comes first.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) bars: Vec<Bar>,
}

impl Bars {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut bars: Vec<&Bar> = self.bars.iter().filter(|bar| bar.value > 0.0).collect();
        bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        let height = TOP + BOTTOM + ROW_HEIGHT * bars.len() as f64;
        let mut out = begin((WIDTH, height), &self.title, &self.subtitle);
        let axis = axis(&bars);
        let at = |value: f64| LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT);
        let bottom = height - BOTTOM;
        for (value, label) in &axis.ticks {
            let x = at(*value);
            let _ = writeln!(out, "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{FAINT}\"/>");
            write_text(&mut out, (x, bottom + 20.0), &format!("text-anchor=\"middle\" fill=\"{SOFT}\""), label);
        }
        for (row, bar) in bars.iter().enumerate() {
            let middle = TOP + ROW_HEIGHT * (row as f64 + 0.5);
            let (y, width, colour) = (middle - BAR_HEIGHT / 2.0, at(bar.value) - LEFT, bar.colour);
            let _ = writeln!(
                out,
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\" fill=\"{colour}\"/>"
            );
            write_text(
                &mut out,
                (LEFT - 10.0, middle + 4.5),
                &format!("text-anchor=\"end\" fill=\"{INK}\""),
                &bar.name,
            );
            write_text(
                &mut out,
                (LEFT + width + 8.0, middle + 4.5),
                &format!("fill=\"{SOFT}\""),
                &thousands(bar.value),
            );
        }
        out + "</svg>\n"
    }
}

/// From nothing to the longest bar, with three to six round ticks besides.
fn axis(bars: &[&Bar]) -> Axis {
    let most = bars.first().map_or(1.0, |bar| bar.value);
    let decade = 10f64.powf(most.log10().floor());
    let step =
        [0.2, 0.5, 1.0, 2.0].map(|step| step * decade).into_iter().find(|step| most / step < 7.0).unwrap_or(most);
    let values = (0..).map(|n| f64::from(n) * step).take_while(|value| *value <= most);
    let ticks = values.map(|value| (value, thousands(value))).collect();
    Axis { label: String::new(), ticks, low: 0.0, high: most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_comes_first_and_every_bar_has_a_length() {
        let bar = |name: &str, value| Bar { name: name.to_owned(), colour: "#000000", value };
        let bars = vec![bar("slow", 1_000.0), bar("fast", 2_000_000.0), bar("nothing", 0.0)];
        let svg = Bars { title: "t".to_owned(), subtitle: String::new(), bars }.svg();
        assert!(svg.find("fast") < svg.find("slow") && !svg.contains("nothing"));
        assert!(!svg.contains("width=\"0.0\"") && !svg.contains("NaN"));
        assert!([">0<", ">500,000<", ">1,500,000<"].iter().all(|tick| svg.contains(tick)), "{svg}");
    }
}

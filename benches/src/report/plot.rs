//! A line plot as SVG, by hand: it needs no library, and the file is small enough to be read.
//!
//! Coordinates are linear here; who wants a logarithmic axis takes logarithms and says where the ticks are.

use std::fmt::Write;

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 272.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 64.0;
/// Between the labels at the lines' ends.
const LABEL_HEIGHT: f64 = 17.0;
pub(super) const INK: &str = "#1f2933";
pub(super) const FAINT: &str = "#e4e7eb";
pub(super) const SOFT: &str = "#616e7c";

/// Okabe and Ito's colours, which those who see colours differently can tell apart, and four greys and browns beside them.
pub(crate) const COLOURS: [&str; 10] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3a8c", "#7a5230", "#111827", "#8a94a0"];

/// An axis: what it shows, from where to where, and its ticks.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) dashed: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    /// Whether each point is marked: for few points that were measured one by one.
    pub(crate) marked: bool,
}

impl Axis {
    /// A logarithmic axis from `low` to `high`, both above 0, with ticks at 1, 2 and 5 times the powers of ten. It shows
    /// the logarithms to base 10 of what is plotted.
    pub(crate) fn logarithmic(label: &str, low: f64, high: f64, show: impl Fn(f64) -> String) -> Self {
        let (low, high) = (low.log10(), high.max(low * 1.01).log10());
        let decades = (low.floor() as i32)..=(high.ceil() as i32);
        let values = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
        let inside = values.filter(|value| (low - 1e-9..=high + 1e-9).contains(&value.log10()));
        let ticks = inside.map(|value| (value.log10(), show(value))).collect();
        Self { label: label.to_owned(), ticks, low, high }
    }

    /// How far along the axis a value is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

impl Plot {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut out = begin((WIDTH, HEIGHT), &self.title, &self.subtitle);
        self.axes(&mut out);
        self.lines.iter().for_each(|line| self.line(&mut out, line));
        self.labels(&mut out);
        out + "</svg>\n"
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM))
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in &self.y.ticks {
            let (_, y) = self.at((self.x.low, *value));
            let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"{FAINT}\"/>");
            write_text(out, (LEFT - 10.0, y + 4.5), &format!("text-anchor=\"end\" fill=\"{SOFT}\""), label);
        }
        for (value, label) in &self.x.ticks {
            let (x, _) = self.at((*value, self.y.low));
            let _ = writeln!(out, "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{FAINT}\"/>");
            write_text(out, (x, bottom + 20.0), &format!("text-anchor=\"middle\" fill=\"{SOFT}\""), label);
        }
        let _ = writeln!(out, "<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"{SOFT}\"/>");
        write_text(out, (f64::midpoint(LEFT, right), HEIGHT - 18.0), "text-anchor=\"middle\"", &self.x.label);
        let middle = f64::midpoint(TOP, bottom);
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\"");
        write_text(out, (16.0, middle), &turned, &self.y.label);
    }

    fn line(&self, out: &mut String, line: &Line) {
        let mut path = String::new();
        for (i, point) in line.points.iter().enumerate() {
            let (x, y) = self.at(*point);
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        let dashes = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let colour = line.colour;
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}/>"
        );
        for point in line.points.iter().filter(|_| self.marked) {
            let (x, y) = self.at(*point);
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
        }
    }

    /// Names at the lines' ends instead of a legend; those that would overlap move apart, with a thread to their line.
    fn labels(&self, out: &mut String) {
        let mut ends: Vec<(f64, f64, &Line)> = Vec::new();
        for line in &self.lines {
            if let Some(last) = line.points.last() {
                let (x, y) = self.at(*last);
                ends.push((x, y, line));
            }
        }
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let places = spread(&ends.iter().map(|(_, y, _)| *y).collect::<Vec<_>>(), TOP, HEIGHT - BOTTOM);
        for ((x, y, line), place) in ends.iter().zip(places) {
            let text_x = WIDTH - RIGHT + 26.0;
            let (colour, dashes) = (line.colour, if line.dashed { " stroke-dasharray=\"2 2\"" } else { "" });
            let (from, to) = (x + 4.0, text_x - 5.0);
            let _ = writeln!(
                out,
                "<path d=\"M{from:.1} {y:.1}L{to:.1} {place:.1}\" stroke=\"{colour}\" stroke-opacity=\".45\"{dashes} fill=\"none\"/>"
            );
            write_text(out, (text_x, place + 4.5), &format!("fill=\"{colour}\" font-weight=\"600\""), &line.name);
        }
    }
}

/// The beginning of a picture of this size: its ground, title and subtitle.
pub(super) fn begin((width, height): (f64, f64), title: &str, subtitle: &str) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n",
        escape(title)
    );
    write_text(&mut out, (24.0, 34.0), "font-size=\"19\" font-weight=\"600\"", title);
    write_text(&mut out, (24.0, 56.0), &format!("fill=\"{SOFT}\""), subtitle);
    out
}

/// Moves sorted places apart until none is closer than a label's height to the next, within bounds.
fn spread(places: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut spread: Vec<f64> = Vec::with_capacity(places.len());
    for place in places {
        let least = spread.last().map_or(low, |above| above + LABEL_HEIGHT);
        spread.push(place.max(least));
    }
    let mut most = high;
    for place in spread.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LABEL_HEIGHT;
    }
    spread
}

pub(super) fn write_text(out: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>", escape(text));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap_and_stay_inside() {
        let places = spread(&[100.0, 101.0, 102.0, 499.0, 499.5], 84.0, 500.0);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_HEIGHT - 1e-9), "{places:?}");
        assert!(places[0] >= 84.0 && places[4] <= 500.0, "{places:?}");
        assert!((places[0] - 100.0).abs() < 1e-9, "who has room stays");
    }

    #[test]
    fn a_logarithmic_axis_has_round_ticks() {
        let axis = Axis::logarithmic("us", 10.0, 100.0, |value| format!("{value}"));
        assert_eq!(axis.ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(), ["10", "20", "50", "100"]);
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escape("a<b & c>d"), "a&lt;b &amp; c&gt;d");
    }
}

//! Plain pictures of curves: one SVG of panels below each other, readable without anything else.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 260.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
/// Height of a row of text.
const ROW: f64 = 14.0;
/// Width of a letter, roughly.
const LETTER: f64 = 7.0;
/// Rows a panel has for labels; a label that fits in none is left out.
const LABEL_ROWS: usize = 4;
/// Marks on an axis, at the most.
const TICKS_MAX: f64 = 7.0;
/// One colour per family of lines, told apart without red and green.
const COLOURS: [&str; 6] = ["#777777", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#000000"];

/// A curve; drawn by its largest value in every column of the picture.
pub(super) struct Curve {
    pub points: Vec<(f64, f64)>,
    pub name: &'static str,
    pub faint: bool,
}

/// A marked place.
pub(super) struct Line {
    pub at: f64,
    pub label: String,
    /// Which colour.
    pub family: usize,
}

/// A marked range.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub from: f64,
    pub to: f64,
    pub label: String,
}

/// One picture.
pub(super) struct Panel {
    pub title: String,
    pub x_unit: &'static str,
    pub y_unit: &'static str,
    /// Right end; that of the curves if not given.
    pub x_max: Option<f64>,
    /// A value the picture reaches down to, whatever the curves do.
    pub y_min: Option<f64>,
    pub curves: Vec<Curve>,
    pub lines: Vec<Line>,
    pub bands: Vec<Band>,
}

/// All panels under one title and the words that explain it.
pub(super) fn draw(title: &str, words: &[String], panels: &[Panel]) -> String {
    let top = TOP + ROW * words.len() as f64;
    let height = top + PANEL * panels.len() as f64;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}</text>\n",
            escape(title)
        ),
    );
    for (idx, line) in words.iter().enumerate() {
        let y = TOP + ROW * idx as f64;
        put(&mut svg, format_args!("<text x=\"{LEFT}\" y=\"{y}\">{}</text>\n", escape(line)));
    }
    for (idx, panel) in panels.iter().enumerate() {
        put(
            &mut svg,
            format_args!("<g transform=\"translate(0 {})\">\n", top + PANEL * idx as f64),
        );
        panel_picture(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Writing to a string cannot fail.
fn put(svg: &mut String, words: std::fmt::Arguments<'_>) {
    svg.write_fmt(words).expect("a string takes everything");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// From values to places on the page.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn of(panel: &Panel) -> Option<Self> {
        let x_end = panel.x_max.unwrap_or(f64::INFINITY);
        let points = panel.curves.iter().flat_map(|curve| &curve.points);
        let (mut x, mut y) = (Range::new(), Range::new());
        for &(at, value) in points.filter(|(at, value)| *at <= x_end && value.is_finite()) {
            x.take(at);
            y.take(value);
        }
        panel.y_min.into_iter().for_each(|value| y.take(value));
        Some(Self { x: x.ends()?, y: y.ends()? })
    }

    fn left(&self, at: f64) -> f64 {
        LEFT + (at - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn top(&self, value: f64) -> f64 {
        let share = (value - self.y.0) / (self.y.1 - self.y.0);
        PANEL - BOTTOM - share * (PANEL - BOTTOM - 30.0)
    }

    fn has(&self, at: f64) -> bool {
        (self.x.0..=self.x.1).contains(&at)
    }
}

struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn new() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY }
    }

    fn take(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    /// Never empty of width, so that one may divide by it.
    fn ends(self) -> Option<(f64, f64)> {
        let width = self.high - self.low;
        let wider = if width > 0.0 { self.high } else { self.low + 1.0 };
        (self.low <= self.high).then_some((self.low, wider))
    }
}

fn panel_picture(svg: &mut String, panel: &Panel) {
    put(svg, format_args!("<text x=\"{LEFT}\" y=\"20\">{}</text>\n", escape(&panel.title)));
    let Some(frame) = Frame::of(panel) else {
        put(svg, format_args!("<text x=\"{LEFT}\" y=\"60\">nothing to draw</text>\n"));
        return;
    };
    let mut labels = Labels::default();
    for band in panel.bands.iter().filter(|band| frame.has(band.from)) {
        let (from, to) = (frame.left(band.from), frame.left(band.to.min(frame.x.1)));
        let (width, bottom) = ((to - from).max(2.0), PANEL - BOTTOM - 30.0);
        put(
            svg,
            format_args!(
                "<rect x=\"{from:.1}\" y=\"30\" width=\"{width:.1}\" height=\"{bottom}\" \
                 fill=\"#f0e442\" opacity=\"0.4\"/>\n"
            ),
        );
        labels.put(svg, from, &band.label, "black");
    }
    axes(svg, &frame, panel);
    for line in panel.lines.iter().filter(|line| frame.has(line.at)) {
        let (x, colour) = (frame.left(line.at), COLOURS[line.family % COLOURS.len()]);
        let bottom = PANEL - BOTTOM;
        put(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"30\" y2=\"{bottom}\" stroke=\"{colour}\" \
                 stroke-dasharray=\"4 3\" opacity=\"0.7\"/>\n"
            ),
        );
        labels.put(svg, x + 2.0, &line.label, colour);
    }
    for (idx, curve) in panel.curves.iter().enumerate() {
        curve_picture(svg, &frame, curve, idx);
    }
}

fn axes(svg: &mut String, frame: &Frame, panel: &Panel) {
    let bottom = PANEL - BOTTOM;
    put(
        svg,
        format_args!(
            "<path d=\"M {LEFT} 30 V {bottom} H {}\" fill=\"none\" stroke=\"black\"/>\n",
            WIDTH - RIGHT
        ),
    );
    let under = bottom + 16.0;
    for (x, text) in ticks(frame.x) {
        let left = frame.left(x);
        put(
            svg,
            format_args!(
                "<path d=\"M {left:.1} {bottom} v 4\" stroke=\"black\"/>\
                 <text x=\"{left:.1}\" y=\"{under}\" text-anchor=\"middle\">{text}</text>\n"
            ),
        );
    }
    for (y, text) in ticks(frame.y) {
        let top = frame.top(y);
        put(
            svg,
            format_args!(
                "<path d=\"M {LEFT} {top:.1} H {}\" stroke=\"#eeeeee\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n",
                WIDTH - RIGHT,
                LEFT - 4.0,
                top + 4.0
            ),
        );
    }
    put(
        svg,
        format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text x=\"{}\" y=\"20\" text-anchor=\"end\">{}</text>\n",
            WIDTH - RIGHT,
            under + ROW,
            panel.x_unit,
            LEFT - 4.0,
            panel.y_unit
        ),
    );
}

/// Round values within a range, by 1, 2 or 5 times a power of ten, and how they are written.
fn ticks((low, high): (f64, f64)) -> impl Iterator<Item = (f64, String)> {
    let least = (high - low) / TICKS_MAX;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(move |k| (k as f64 * step, format!("{:.digits$}", k as f64 * step)))
}

/// Labels side by side in rows, none over another.
#[derive(Default)]
struct Labels {
    /// Row, left and right end of each.
    taken: Vec<(usize, f64, f64)>,
}

impl Labels {
    fn put(&mut self, svg: &mut String, x: f64, label: &str, colour: &str) {
        let end = x + LETTER * label.chars().count() as f64 + 4.0;
        let is_free = |row: &usize| {
            self.taken.iter().all(|(at, from, to)| at != row || end <= *from || x >= *to)
        };
        let Some(row) = (0..LABEL_ROWS).find(is_free).filter(|_| !label.is_empty()) else { return };
        self.taken.push((row, x, end));
        let y = 42.0 + ROW * row as f64;
        put(
            svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{y}\" fill=\"{colour}\">{}</text>\n",
                escape(label)
            ),
        );
    }
}

fn curve_picture(svg: &mut String, frame: &Frame, curve: &Curve, idx: usize) {
    let (colour, width) = if curve.faint { ("#999999", 1.0) } else { ("#0072b2", 1.4) };
    let mut columns: Vec<(f64, f64)> = Vec::new();
    for &(at, value) in curve.points.iter().filter(|it| frame.has(it.0) && it.1.is_finite()) {
        let (x, y) = (frame.left(at).round(), frame.top(value));
        match columns.last_mut() {
            Some(last) if last.0 == x => last.1 = last.1.min(y),
            _ => columns.push((x, y)),
        }
    }
    svg.push_str("<polyline fill=\"none\" points=\"");
    for (x, y) in &columns {
        put(svg, format_args!("{x},{y:.1} "));
    }
    put(
        svg,
        format_args!(
            "\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\
             <text x=\"{}\" y=\"20\" text-anchor=\"end\" fill=\"{colour}\">{}</text>\n",
            WIDTH - RIGHT - 80.0 * idx as f64,
            curve.name
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_curves_lines_and_no_raw_markup() {
        let line = |at| Line { at, label: "BPFO".to_owned(), family: 1 };
        let panel = Panel {
            title: "a < b & c".to_owned(),
            x_unit: "Hz",
            y_unit: "dB",
            x_max: Some(100.0),
            y_min: None,
            curves: vec![Curve {
                points: (0..5000).map(|k| (f64::from(k), f64::from(k % 7))).collect(),
                name: "now",
                faint: false,
            }],
            lines: vec![line(50.0), line(500.0)],
            bands: vec![Band { from: 10.0, to: 900.0, label: "+6 dB".to_owned() }],
        };
        let svg = draw("title", &["why".to_owned()], &[panel]);
        assert!(svg.contains("a &lt; b &amp; c"));
        assert_eq!(svg.matches("BPFO").count(), 1, "a line beyond the right end is not drawn");
        assert!(svg.len() < 20_000, "{} bytes", svg.len());
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn marks_are_round() {
        let marks =
            |low, high| ticks((low, high)).map(|(_, text)| text).collect::<Vec<_>>().join(" ");
        assert_eq!(marks(2.0, 6000.0), "1000 2000 3000 4000 5000 6000");
        assert_eq!(marks(-102.3, -4.2), "-100 -80 -60 -40 -20");
        assert_eq!(marks(0.0, 1.0), "0.0 0.2 0.4 0.6 0.8 1.0");
    }

    #[test]
    fn no_label_stands_on_another() {
        let (mut labels, mut svg) = (Labels::default(), String::new());
        (0..9).for_each(|k| labels.put(&mut svg, 100.0 + f64::from(k), "+20 dB", "black"));
        assert_eq!(svg.matches("+20 dB").count(), LABEL_ROWS);
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let panel = Panel {
            title: String::new(),
            x_unit: "",
            y_unit: "",
            x_max: None,
            y_min: None,
            curves: Vec::new(),
            lines: Vec::new(),
            bands: Vec::new(),
        };
        assert!(draw("", &[], &[panel]).contains("nothing to draw"));
    }
}

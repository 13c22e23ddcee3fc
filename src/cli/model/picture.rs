//! The ladder as a picture: accuracy against size and against time, the models numbered.

use std::fmt::{Arguments, Write};

/// One model in the picture.
pub(super) struct Point<'a> {
    /// How it was made.
    pub name: &'a str,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Of the file.
    pub bytes: f64,
    /// Microseconds an inference.
    pub us: f64,
}

/// Height of the plots and what is left above them, pixels.
const PLOT: (f64, f64) = (340.0, 40.0);
/// Width of one plot, and from the left of one to the left of the next.
const WIDTH: (f64, f64) = (260.0, 320.0);
/// Where the list of the models begins.
const LIST: f64 = 690.0;
/// Why writing cannot fail.
const TAKES: &str = "a string takes everything";
/// Distance of lines of text.
const LINE: f64 = 15.0;

/// Two plots, both with logarithmic axes across, and the list of the models.
pub(super) fn draw(points: &[Point<'_>]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 430\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
    );
    plot(&mut svg, 50.0, "bytes of the file", points, |point| point.bytes);
    plot(&mut svg, 50.0 + WIDTH.1, "microseconds an inference", points, |point| point.us);
    for (i, Point { name, auc, .. }) in points.iter().enumerate() {
        let y = PLOT.1 + LINE * i as f64;
        text(&mut svg, (LIST, y), "start", format_args!("{} {name}: {auc:.3}", i + 1));
    }
    svg.push_str("</svg>\n");
    svg
}

fn plot(svg: &mut String, left: f64, name: &str, points: &[Point<'_>], of: fn(&Point<'_>) -> f64) {
    let (right, top, bottom) = (left + WIDTH.0, PLOT.1, PLOT.1 + PLOT.0);
    let (low, high) = ends(points.iter().map(|point| point.auc), 0.005);
    let (from, to) = ends(points.iter().map(|point| of(point).ln()), 0.1);
    let up = |auc: f64| top + PLOT.0 * (high - auc) / (high - low);
    let across = |value: f64| left + WIDTH.0 * (value.ln() - from) / (to - from);
    text(svg, (left, top - 14.0), "start", format_args!("AUC, {name}"));
    for tick in ticks(low, high) {
        let y = up(tick);
        line(svg, format_args!("M{left} {y:.1}H{right}"));
        text(svg, (left - 4.0, y + 4.0), "end", format_args!("{tick:.3}"));
    }
    for tick in decades(from.exp(), to.exp()) {
        let x = across(tick);
        line(svg, format_args!("M{x:.1} {bottom}V{top}"));
        text(svg, (x, bottom + LINE), "middle", format_args!("{tick}"));
    }
    let mut labels: Vec<(f64, f64)> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let (x, y) = (across(of(point)), up(point.auc));
        let mut label = (x + 6.0, y - 4.0);
        let is_near = |at: &(f64, f64), label: (f64, f64)| {
            (at.0 - label.0).abs() < LINE && (at.1 - label.1).abs() < 10.0
        };
        while labels.iter().any(|at| is_near(at, label)) {
            label.1 += 2.0;
        }
        labels.push(label);
        let dot =
            format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#0072b2\"/>\n");
        svg.write_fmt(dot).expect(TAKES);
        text(svg, label, "start", format_args!("{}", i + 1));
    }
}

fn line(svg: &mut String, path: Arguments<'_>) {
    writeln!(svg, "<path d=\"{path}\" stroke=\"#dddddd\"/>").expect(TAKES);
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: Arguments<'_>) {
    let place = format_args!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    writeln!(svg, "<text {place}>{words}</text>").expect(TAKES);
}

/// Least and largest of the values, with a tenth of room at each end, `least_room` at the least.
fn ends(values: impl Iterator<Item = f64>, least_room: f64) -> (f64, f64) {
    let all =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let room = (0.1 * (all.1 - all.0)).max(least_room);
    (all.0 - room, all.1 + room)
}

/// Some five round numbers between two.
fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let rough = (high - low) / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * decade).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    ((low / step).ceil() as i64..=(high / step).floor() as i64).map(move |n| n as f64 * step)
}

/// 1, 2 and 5 of every decade between two numbers above 0.
fn decades(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let of = |n: i32| [1.0, 2.0, 5.0].map(|x| x * 10_f64.powi(n));
    (-6..12).flat_map(of).filter(move |x| (low..=high).contains(x))
}

//! Plots as SVG: every sample of an item, and all items as multiples of the floor.

use std::fmt::Write as _;

use crate::items::Unit;
use crate::results::{Measured, Pace, Results, Row};
use crate::runtimes::FLOOR;
use crate::samples::Summary;

/// Of the drawing, in its own units; the page scales it.
const WIDTH: f64 = 640.0;
/// Names are left of the axis, numbers right of it.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 470.0;
const LANE: f64 = 15.0;
const GAP: f64 = 7.0;
const AXIS: f64 = 24.0;

/// The overview's axis, in multiples of the floor.
const OVERVIEW: (f64, f64) = (0.8, 40.0);
const OVERVIEW_TICKS: [f64; 8] = [1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0];
const OVERVIEW_LEFT: f64 = 290.0;
const OVERVIEW_ROW: f64 = 21.0;

/// One item: a row of dots for each runtime and pace, with a bar for the median.
pub(crate) fn samples(item: &Measured) -> String {
    let most = scale_end(item);
    let x = |value: f64| LEFT + (value / most).min(1.0) * (RIGHT - LEFT);
    let mut body = String::new();
    let mut y = AXIS;
    for row in &item.rows {
        let lanes = lanes(item, row);
        let _ = write!(
            body,
            "<text class=\"name {0}\" x=\"0\" y=\"{1:.0}\">{0}</text>",
            row.runtime,
            y + LANE * 0.75
        );
        for (pace_name, samples) in &lanes {
            body += &lane(item.unit, &row.runtime, pace_name, samples, y, x);
            y += LANE;
        }
        if lanes.is_empty() {
            let _ =
                write!(body, "<text class=\"note\" x=\"{LEFT}\" y=\"{:.0}\">failed</text>", y + LANE * 0.75);
            y += LANE;
        }
        y += GAP;
    }
    let mut axis = String::new();
    for step in ticks(most) {
        let (at, digits) = (x(step), if most < 0.5 { 2 } else { usize::from(most < 4.0) });
        let _ = write!(
            axis,
            "<path class=\"grid\" d=\"M{at:.1} {AXIS}V{y:.0}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"14\">{step:.digits$}</text>"
        );
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {y:.0}\" role=\"img\" aria-label=\"{}\">{axis}{body}</svg>",
        escaped(&item.about)
    )
}

/// The samples to show, each with the name of its pace.
fn lanes(item: &Measured, row: &Row) -> Vec<(&'static str, Vec<f64>)> {
    let apart = item.unit == Unit::Milliseconds;
    let paces: &[(&str, Pace)] = if apart { &Pace::APART } else { &[("", Pace::All)] };
    let lanes = paces.iter().map(|(name, pace)| (*name, row.samples(*pace)));
    lanes.filter(|(_, samples)| !samples.is_empty()).collect()
}

fn lane(unit: Unit, runtime: &str, pace: &str, samples: &[f64], y: f64, x: impl Fn(f64) -> f64) -> String {
    let Some(summary) = Summary::of(samples) else { return String::new() };
    let middle = y + LANE / 2.0;
    let mut dots = String::new();
    for (index, sample) in samples.iter().enumerate() {
        // Five heights, so that equal samples do not hide each other.
        let height = [0.0, 2.5, -2.5, 4.0, -4.0][index % 5];
        let _ = write!(dots, "M{:.1} {:.1}h0", x(*sample), middle + height);
    }
    let digits = unit.digits();
    let (median, min, p90) = (summary.median, summary.min, summary.p90);
    let mut told = format!("{median:.digits$} {}", unit.sign());
    if min < p90 {
        let _ = write!(told, " ({min:.digits$} – {p90:.digits$})");
    }
    format!(
        "<g class=\"{runtime} {pace}\"><title>{runtime} {pace}: median {median:.digits$} {sign}, least {min:.digits$}, \
         p90 {p90:.digits$}, {count} samples</title><path class=\"bar\" d=\"M{LEFT} {middle:.1}H{at:.1}\"/>\
         <path class=\"dots\" d=\"{dots}\"/><path class=\"median\" d=\"M{at:.1} {y:.1}v{LANE}\"/>\
         <text class=\"value\" x=\"{value:.0}\" y=\"{base:.1}\">{told}</text></g>",
        sign = unit.sign(),
        count = samples.len(),
        at = x(median),
        value = RIGHT + 10.0,
        base = y + LANE * 0.75,
    )
}

/// Where the axis ends: a little beyond the largest p90, as one sample out of hundreds may be anywhere.
fn scale_end(item: &Measured) -> f64 {
    let paces = [Pace::Tight, Pace::Paused];
    let ends =
        item.rows.iter().flat_map(|row| paces.map(|pace| row.summary(pace).map(|summary| summary.p90)));
    ends.flatten().fold(f64::MIN_POSITIVE, f64::max) * 1.05
}

/// Three to six round numbers from zero on.
fn ticks(most: f64) -> Vec<f64> {
    let magnitude = 10f64.powf(most.log10().floor());
    let steps = [0.2, 0.5, 1.0, 2.0].map(|step| step * magnitude);
    let step = steps.into_iter().find(|step| most / step <= 5.5).unwrap_or(most);
    (0..=5).map(|count| f64::from(count) * step).filter(|tick| *tick <= most).collect()
}

/// All items that the floor can do: each runtime's median as a multiple of the floor's, on a logarithmic axis.
pub(crate) fn overview(results: &Results) -> String {
    let shown: Vec<&Measured> = results.items.iter().filter(|item| is_comparable(item)).collect();
    let (first, last) = (OVERVIEW.0.ln(), OVERVIEW.1.ln());
    let span = WIDTH - 12.0 - OVERVIEW_LEFT;
    let x = |ratio: f64| OVERVIEW_LEFT + (ratio.ln().clamp(first, last) - first) / (last - first) * span;
    let bottom = shown.iter().fold(AXIS, |height, _| height + OVERVIEW_ROW) + 6.0;
    let mut body = String::new();
    for tick in OVERVIEW_TICKS {
        let class = if tick == 1.0 { "grid floor-line" } else { "grid" };
        let at = x(tick);
        let _ = write!(
            body,
            "<path class=\"{class}\" d=\"M{at:.1} {AXIS}V{bottom:.0}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"14\">{tick}×</text>"
        );
    }
    let mut y = AXIS + OVERVIEW_ROW / 2.0;
    for item in shown {
        let about = escaped(&item.about);
        let _ = write!(body, "<text class=\"item\" x=\"0\" y=\"{:.1}\">{about}</text>", y + 4.0);
        for row in item.rows.iter().filter(|row| row.runtime != FLOOR) {
            let Some(ratio) = item.ratio(&row.runtime, FLOOR, Pace::All) else { continue };
            // Of runs per second more is better.
            let times = if item.unit.is_cost() { ratio.median } else { 1.0 / ratio.median };
            let _ = write!(
                body,
                "<circle class=\"{0}\" cx=\"{1:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{0}, {about}: {times:.2} × the floor</title></circle>",
                row.runtime,
                x(times)
            );
        }
        y += OVERVIEW_ROW;
    }
    format!(
        "<svg class=\"overview\" viewBox=\"0 0 {WIDTH} {bottom:.0}\" role=\"img\" aria-label=\"multiples of the floor\">{body}</svg>"
    )
}

fn is_comparable(item: &Measured) -> bool {
    let floor = item.row(FLOOR).and_then(|row| row.summary(Pace::All));
    floor.is_some_and(|floor| floor.median > 0.0) && item.item != "binary" && item.rows.len() > 1
}

/// Text in HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(42.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        for most in [0.3, 1.0, 7.7, 99.0, 12345.0] {
            assert!((3..=6).contains(&ticks(most).len()), "{most}: {:?}", ticks(most));
        }
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}

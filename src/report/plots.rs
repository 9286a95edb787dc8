//! Plots as SVG, with no more than lines: rates, and distributions as the share of units up to a value. Names in them
//! are reduced to characters that mean nothing to a browser.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// A named line.
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Colours that differ also for those who tell few apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// The share of values up to each of them.
pub fn shares(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let n = super::stats::float(values.len());
    let mut points = vec![(values.first().copied().unwrap_or(0.0), 0.0)];
    for (at, value) in values.into_iter().enumerate() {
        let below = super::stats::float(at) / n;
        points.extend([(value, below), (value, below + 1.0 / n)]);
    }
    points
}

/// A plot of shares between 0 and 1 against a measure.
pub fn lines(across: &str, series: &[Series]) -> Result<String> {
    plot(across, series, &|value| {
        format!("{value:.5}").trim_end_matches('0').trim_end_matches('.').to_owned()
    })
}

/// Likewise against a count, of which only whole numbers are told.
pub fn steps(across: &str, series: &[Series]) -> Result<String> {
    plot(across, series, &|value| if value.fract() == 0.0 { value.to_string() } else { String::new() })
}

fn plot(across: &str, series: &[Series], told: &dyn Fn(f64) -> String) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, across, series, told).map_err(|error| anyhow!("failed to draw a plot: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    across: &str,
    series: &[Series],
    told: &dyn Fn(f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let xs = || series.iter().flat_map(|one| one.points.iter().map(|point| point.0));
    let (low, high) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(0.0), low.max(0.0) + 1.0) };
    let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
    let area = SVGBackend::with_string(svg, (560, 320)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(low..high, 0.0..1.02)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(across)
        .x_label_formatter(&|value| told(*value))
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .draw()?;
    for (at, one) in series.iter().enumerate() {
        let style = COLOURS[at % COLOURS.len()].stroke_width(2);
        chart
            .draw_series(LineSeries::new(one.points.iter().copied(), style))?
            .label(plain(&one.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        if let [point] = one.points.as_slice() {
            chart.draw_series([Circle::new(*point, 3, style.filled())])?;
        }
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}

fn plain(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || " -_./:#()".contains(c);
    name.chars().take(60).map(|c| if fits(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_made_of_anything_and_holds_no_markup_of_others() {
        let named =
            |name: &str, points: &[(f64, f64)]| Series { name: name.to_owned(), points: points.to_vec() };
        for series in [
            vec![],
            vec![named("none", &[])],
            vec![named("one", &[(2.0, 0.5)])],
            vec![named("<script>alert(1)</script>", &[(0.0, 0.0), (3.0, 1.0)]), named("b", &[(1.0, 1.0)])],
        ] {
            let svg = lines("samples", &series).unwrap();
            assert!(svg.starts_with("<svg") && !svg.contains("<script"), "{svg}");
        }
        assert_eq!(shares(vec![2.0, 1.0]), [(1.0, 0.0), (1.0, 0.0), (1.0, 0.5), (2.0, 0.5), (2.0, 1.0)]);
    }
}

//! Bars of block characters: a figure's length, a distribution's shape; `#` where there is only
//! ASCII.

use hdrhistogram::Histogram;

use super::style::Style;

/// Blocks that fill eighths of a column, from the left.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Blocks that fill eighths of a line, from below.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The same in ASCII.
const LEVELS_ASCII: [char; 5] = ['.', ':', '-', '=', '#'];

/// A bar of up to `width` columns that grows with the logarithm of `value` over `range`; the least
/// value still has one column.
#[must_use]
pub fn logarithmic(value: u64, range: (u64, u64), width: usize, style: Style) -> String {
    let ln = |n: u64| (n.max(1) as f64).ln();
    let (low, high) = (ln(range.0), ln(range.1));
    let share = if high > low {
        ((ln(value) - low) / (high - low)).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let eighths = 8 + (share * (width.saturating_sub(1) * 8) as f64).round() as usize;
    if !style.unicode {
        return "#".repeat(eighths.div_ceil(8).min(width));
    }
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}

/// The shape of a distribution in `width` columns, from its least to its greatest value on a
/// logarithmic scale; a column's height goes by the logarithm of its count, so that a tail of few
/// samples is still seen. Empty without samples.
#[must_use]
pub fn shape(histogram: &Histogram<u64>, width: usize, style: Style) -> String {
    if histogram.is_empty() || width == 0 {
        return String::new();
    }
    let ln = |n: u64| (n.max(1) as f64).ln();
    let (low, high) = (ln(histogram.min()), ln(histogram.max()));
    let mut columns = vec![0_u64; width];
    for step in histogram.iter_recorded() {
        let share = if high > low {
            ((ln(step.value_iterated_to()) - low) / (high - low)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let column = ((share * width as f64) as usize).min(width - 1);
        columns[column] += step.count_since_last_iteration();
    }
    let most = columns
        .iter()
        .map(|&n| (n as f64).ln_1p())
        .fold(0.0, f64::max);
    let levels: &[char] = if style.unicode {
        &LEVELS
    } else {
        &LEVELS_ASCII
    };
    let last = levels.len() - 1;
    columns
        .into_iter()
        .map(|n| match n {
            0 => ' ',
            n => levels[((n as f64).ln_1p() / most * last as f64).round() as usize],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::histogram;

    const ASCII: Style = Style {
        unicode: false,
        ..Style::FILE
    };

    #[test]
    fn a_bar_grows_by_factors() {
        let bar = |n| logarithmic(n, (1, 10_000), 5, Style::FILE);
        assert_eq!(
            [1, 10, 100, 1_000, 10_000].map(bar),
            ["█", "██", "███", "████", "█████"]
        );
        assert_eq!(bar(3), "█▌");
        assert_eq!(logarithmic(3, (1, 10_000), 5, ASCII), "##");
        assert_eq!(
            logarithmic(7, (7, 7), 5, Style::FILE),
            "█",
            "a range of one value"
        );
        assert_eq!(bar(u64::MAX), "█████", "beyond the range");
    }

    #[test]
    fn a_shape_shows_the_bulk_the_gap_and_the_tail() {
        let mut h = histogram();
        assert_eq!(shape(&h, 5, Style::FILE), "");
        h.record_n(1_000, 10_000).unwrap();
        h.record_n(100_000_000, 1).unwrap();
        let text = shape(&h, 6, Style::FILE);
        assert_eq!(text.chars().count(), 6);
        assert_eq!(text, "█    ▂");
        assert_eq!(shape(&h, 6, ASCII), "#    .");
        assert_eq!(shape(&h, 0, Style::FILE), "");
    }
}

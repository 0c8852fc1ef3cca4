//! Small charts of what went on lately, drawn here: pictures without a script.

use askama::Template;

use super::words::counted;
use crate::board::{Count, Lately};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 72;

/// One chart: a bar for each stretch of time, what was refused or failed on top of it.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    title: &'static str,
    /// What it shows, for those who do not see it.
    summary: String,
    bars: Vec<Bar>,
    /// The tallest bar's count.
    most: u32,
    since: &'static str,
}

#[derive(Debug)]
struct Bar {
    x: u32,
    width: u32,
    /// From the bottom up: what went well, what was refused, what failed; each with its upper edge and height.
    pieces: Vec<(&'static str, u32, u32)>,
    says: String,
}

/// The last hour and the last day.
pub(super) fn charts(lately: Option<&Lately>) -> Vec<Chart> {
    let Some(lately) = lately else { return Vec::new() };
    vec![
        Chart::new("Last hour", "60 minutes ago", &lately.hour, 1),
        Chart::new("Last day", "24 hours ago", &lately.day, 30),
    ]
}

impl Chart {
    fn new(title: &'static str, since: &'static str, counts: &[Count], minutes: usize) -> Self {
        let most = counts.iter().map(|count| count.requests).max().unwrap_or_default();
        let step = WIDTH / u32::try_from(counts.len()).unwrap_or(WIDTH).max(1);
        let bars = counts.iter().zip(0..).zip((0..counts.len()).rev());
        let bars = bars.filter(|((count, _), _)| count.requests > 0);
        let bars = bars.map(|((count, place), ago)| Bar {
            x: place * step + 1,
            width: step.saturating_sub(2).max(1),
            pieces: pieces(*count, most),
            says: format!("{} min ago: {}", ago * minutes, described(*count)),
        });
        let mut sum = Count::default();
        for count in counts {
            sum.requests = sum.requests.saturating_add(count.requests);
            sum.refused = sum.refused.saturating_add(count.refused);
            sum.failed = sum.failed.saturating_add(count.failed);
        }
        Self { title, summary: described(sum), bars: bars.collect(), most, since }
    }
}

fn described(count: Count) -> String {
    let mut text = counted(count.requests.into(), "request", "requests");
    if count.refused > 0 {
        text.push_str(&format!(", {} refused", count.refused));
    }
    if count.failed > 0 {
        text.push_str(&format!(", {} failed", count.failed));
    }
    text
}

/// What is there is seen, however little of it there is.
fn pieces(count: Count, most: u32) -> Vec<(&'static str, u32, u32)> {
    let good = count.requests.saturating_sub(count.refused).saturating_sub(count.failed);
    let mut top = HEIGHT;
    let mut pieces = Vec::new();
    for (class, count) in [("good", good), ("refused", count.refused), ("failed", count.failed)] {
        if count > 0 {
            let share = u64::from(count) * u64::from(HEIGHT - 6) / u64::from(most.max(1));
            let height = u32::try_from(share).unwrap_or(HEIGHT).max(2).min(top);
            top -= height;
            pieces.push((class, top, height));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_within_the_picture_and_nothing_is_invisible() {
        let count = |requests, refused, failed| Count { requests, refused, failed };
        assert_eq!(pieces(count(10, 0, 0), 10), [("good", 6, 66)]);
        assert_eq!(pieces(count(1, 0, 0), u32::MAX), [("good", 70, 2)]);
        assert_eq!(pieces(count(2, 1, 1), 2), [("refused", 39, 33), ("failed", 6, 33)]);
        let many = pieces(count(u32::MAX, 1, 1), u32::MAX);
        assert_eq!(many.iter().map(|(class, ..)| *class).collect::<Vec<_>>(), ["good", "refused", "failed"]);
        assert!(many.iter().all(|(_, top, height)| top + height <= HEIGHT));
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        let mut counts = vec![Count::default(); 60];
        counts[59] = Count { requests: 3, refused: 1, failed: 0 };
        let chart = Chart::new("Last hour", "60 minutes ago", &counts, 1);
        assert_eq!((chart.bars.len(), chart.summary.as_str()), (1, "3 requests, 1 refused"));
        assert_eq!(chart.bars[0].says, "0 min ago: 3 requests, 1 refused");
        let page = chart.render().unwrap();
        assert!(page.contains("3 requests, 1 refused") && page.len() < 2000, "{page}");
    }
}

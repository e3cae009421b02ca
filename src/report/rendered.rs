//! The forms of a report, each made once, however many places it goes to.

use std::cell::OnceCell;

use super::{Report, html};

/// A report, and the forms of it that were asked for so far.
#[derive(Debug)]
pub struct Rendered<'a> {
    /// The report that they are made of.
    pub report: &'a Report,
    json: OnceCell<Vec<u8>>,
    page: OnceCell<String>,
}

impl<'a> Rendered<'a> {
    /// Nothing is made before it is asked for.
    #[must_use]
    pub const fn new(report: &'a Report) -> Self {
        Self {
            report,
            json: OnceCell::new(),
            page: OnceCell::new(),
        }
    }

    /// The JSON result.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        self.json.get_or_init(|| self.report.result.json())
    }

    /// The HTML report.
    #[must_use]
    pub fn page(&self) -> &str {
        self.page.get_or_init(|| html::render(&self.report.result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn each_form_is_made_once_and_is_what_its_module_makes() {
        let report = sample::report(|_, _| ());
        let rendered = Rendered::new(&report);
        assert_eq!(rendered.page(), html::render(&report.result));
        assert_eq!(rendered.json(), report.result.json());
        assert!(std::ptr::eq(rendered.page(), rendered.page()));
        assert!(std::ptr::eq(rendered.json(), rendered.json()));
    }
}

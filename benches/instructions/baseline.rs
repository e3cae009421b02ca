//! The counts that are committed, and how others compare with them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may change without a word. Counts repeat to a fraction of a per cent; the rest is room for
/// code that moved.
const TOLERANCE: f64 = 0.05;

/// What a case takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Count {
    pub(crate) name: String,
    /// Per event: a line, a message, a delivery.
    pub(crate) instructions: f64,
}

/// Counts, and what built the code that was counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) made_by: String,
    pub(crate) counts: Vec<Count>,
}

/// The compiler, and which instructions the libraries that choose at run time choose from.
pub(crate) fn this_build() -> String {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("--version").output();
    let version = version.expect("what built this is there");
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    #[cfg(target_arch = "x86_64")]
    let vectors = if is_x86_feature_detected!("avx2") {
        ", avx2"
    } else {
        ""
    };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = "";
    format!("{version}, {}{vectors}", std::env::consts::ARCH)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.txt")
}

impl Baseline {
    pub(crate) fn load() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        text.parse()
            .unwrap_or_else(|line| panic!("{}: not understood: {line}", path().display()))
    }

    pub(crate) fn save(&self) {
        fs::write(path(), self.to_string()).expect("the baseline can be written");
    }

    /// Prints both side by side; returns what must not be.
    pub(crate) fn compare(&self, now: &Self) -> Vec<String> {
        let gated = self.made_by == now.made_by;
        let mut complaints = Vec::new();
        println!(
            "{:<40} {:>12} {:>12} {:>9}",
            "instructions per event", "baseline", "now", "change"
        );
        for count in &now.counts {
            let before = self.counts.iter().find(|before| before.name == count.name);
            let Some(before) = before else {
                println!(
                    "{:<40} {:>12} {:>12.1}",
                    count.name, "–", count.instructions
                );
                complaints.push(format!(
                    "{} is not in the baseline; add it {SAVE}",
                    count.name
                ));
                continue;
            };
            let change = count.instructions / before.instructions - 1.0;
            println!(
                "{:<40} {:>12.1} {:>12.1} {:>+8.1}%",
                count.name,
                before.instructions,
                count.instructions,
                change * 100.0
            );
            let both = format!(
                "{} takes {:.1} instructions, {:.1} in the baseline ({:+.1} %)",
                count.name,
                count.instructions,
                before.instructions,
                change * 100.0
            );
            if change > TOLERANCE {
                complaints.push(format!(
                    "{both}: a regression over {:.0} %; mend it, or say why in the commit that \
                     changes the baseline {SAVE}",
                    TOLERANCE * 100.0
                ));
            } else if change < -TOLERANCE {
                complaints.push(format!("{both}: well done; commit the new baseline {SAVE}"));
            }
        }
        for before in &self.counts {
            if !now.counts.iter().any(|count| count.name == before.name) {
                complaints.push(format!(
                    "{} is in the baseline and no case any more; {SAVE}",
                    before.name
                ));
            }
        }
        if !gated {
            println!(
                "\nnothing is gated: the baseline is of {}, this is {}. To gate here, {SAVE}",
                self.made_by, now.made_by
            );
            complaints.clear();
        }
        complaints
    }
}

const SAVE: &str = "(cargo bench --bench instructions -- --save)";

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.made_by)?;
        for count in &self.counts {
            writeln!(f, "{} {:.1}", count.name, count.instructions)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Baseline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut baseline = Self {
            made_by: String::new(),
            counts: Vec::new(),
        };
        for line in text.lines() {
            if let Some(made_by) = line.strip_prefix("# ") {
                baseline.made_by = made_by.to_owned();
                continue;
            }
            let count = line.rsplit_once(' ').and_then(|(name, instructions)| {
                Some(Count {
                    name: name.to_owned(),
                    instructions: instructions.parse().ok()?,
                })
            });
            baseline.counts.push(count.ok_or(line)?);
        }
        Ok(baseline)
    }
}

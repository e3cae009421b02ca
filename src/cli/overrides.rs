//! The command line's overrides of a scenario's file: the same options for every verb that reads
//! one, and the one way to load it.

use std::path::{Path, PathBuf};

use super::complain;
use super::tls::TlsArgs;
use crate::scenario::{self, Options, diagnostic::Diagnostics, plan::Plan};
use crate::target;

/// Options that stand over the file's keys.
#[derive(Debug, clap::Args)]
pub(super) struct Overrides {
    /// The target, over the file's: embedded, ndjson://HOST:PORT, ws://HOST:PORT/PATH,
    /// classic://HOST:PORT, nats://HOST:PORT, redis://HOST:PORT, embedded+ws or embedded+classic;
    /// over TLS ndjson+tls://, wss://, classic+tls://, tls+nats:// or rediss://
    #[arg(long, value_name = "URL")]
    target: Option<String>,

    /// Set a key over the file's, e.g. clients.talkers.rate=2000 (repeatable)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,

    /// The measured phase's length, over the file's: --set run.duration
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,

    /// Messages a second of the only group that has a rate, over the file's; of several groups:
    /// --set clients.NAME.rate
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate: Option<String>,

    /// Clients of the only group, over the file's; of several groups: --set clients.NAME.count
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    clients: Option<String>,

    /// The seed of all randomness, over the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    #[command(flatten)]
    tls: TlsArgs,
}

/// Scenario files of which at least one is invalid: each, and what is wrong with it.
pub(super) type Invalid = Vec<(PathBuf, Option<String>)>;

impl Overrides {
    /// The plan of `file`; `further` is set over everything else, as `PATH=VALUE`.
    ///
    /// # Errors
    ///
    /// All that is wrong with the file and with what was set.
    pub(super) fn load(&self, file: &Path, further: &[String]) -> Result<Plan, Diagnostics> {
        let set = [&self.set, further].concat();
        self.over(&set, |options| scenario::load(file, options))
    }

    /// The plan of a scenario that is in no file, and goes by `name`.
    ///
    /// # Errors
    ///
    /// All that is wrong with it and with what was set.
    pub(super) fn parse(&self, name: &str, text: &str) -> Result<Plan, Diagnostics> {
        self.over(&self.set, |options| {
            scenario::parse_with(name, text, options)
        })
    }

    /// Whether the target is given by an option.
    pub(super) fn names_target(&self) -> bool {
        self.target.is_some()
    }

    fn over(
        &self,
        set: &[String],
        read: impl FnOnce(&Options<'_>) -> Result<Plan, Diagnostics>,
    ) -> Result<Plan, Diagnostics> {
        let tls = self.tls.options();
        let options = Options {
            set,
            tls: &tls,
            seed: self.seed,
            target: self.target.as_deref(),
            duration: self.duration.as_deref(),
            rate: self.rate.as_deref(),
            clients: self.clients.as_deref(),
        };
        read(&options).and_then(with_readable_files)
    }

    /// The plans of all scenarios under `paths`, warnings printed.
    ///
    /// # Errors
    ///
    /// If anything is wrong with any of them: every file, and what is wrong with it. All of that
    /// is printed.
    pub(super) fn load_all(&self, paths: &[PathBuf]) -> Result<Vec<(PathBuf, Plan)>, Invalid> {
        let files = match scenario::files(paths) {
            Ok(files) => files,
            Err(diagnostics) => {
                complain(&diagnostics);
                let wrong = Some(diagnostics.render(false));
                return Err(paths
                    .iter()
                    .map(|path| (path.clone(), wrong.clone()))
                    .collect());
            }
        };
        let mut plans = Vec::new();
        let mut invalid = Vec::new();
        for file in files {
            match self.load(&file, &[]) {
                Ok(plan) => {
                    complain(&plan.warnings);
                    plans.push((file, plan));
                }
                Err(diagnostics) => {
                    complain(&diagnostics);
                    invalid.push((file, Some(diagnostics.render(false))));
                }
            }
        }
        if invalid.is_empty() {
            return Ok(plans);
        }
        let valid = plans.into_iter().map(|(file, _)| (file, None));
        Err(invalid.into_iter().chain(valid).collect())
    }

    /// The command line that does the same to `file` with `seed` again.
    pub(super) fn rerun(&self, verb: &str, file: &Path, seed: u64) -> String {
        let mut words = vec![
            "chatbench".to_owned(),
            verb.to_owned(),
            quoted(&file.display().to_string()),
        ];
        words.extend(["--seed".to_owned(), seed.to_string()]);
        if let Some(target) = &self.target {
            words.extend(["--target".to_owned(), quoted(target)]);
        }
        for (option, value) in [
            ("--duration", &self.duration),
            ("--rate", &self.rate),
            ("--clients", &self.clients),
        ] {
            if let Some(value) = value {
                words.extend([option.to_owned(), quoted(value)]);
            }
        }
        words.extend(self.tls.options().into_iter().map(|option| option.given));
        for set in &self.set {
            words.extend(["--set".to_owned(), quoted(set)]);
        }
        words.join(" ")
    }
}

/// The plan, if the files that it names can be used.
///
/// # Errors
///
/// What is wrong with them: it is found before anything runs.
pub(super) fn with_readable_files(plan: Plan) -> Result<Plan, Diagnostics> {
    if plan.target.url.is_over_tls() {
        let read = target::tls::settings(&plan.target.tls, &[]);
        read.map_err(|error| Diagnostics::unreadable(format!("TLS with the target: {error}")))?;
    }
    Ok(plan)
}

/// Quotes `word` so that a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(
            quoted("clients.talkers.rate=2000"),
            "clients.talkers.rate=2000"
        );
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_command_to_run_again_holds_every_override() {
        let overrides = Overrides {
            target: Some("ndjson://[::1]:9".to_owned()),
            set: vec!["a.b=1".to_owned(), "description=\"x y\"".to_owned()],
            seed: None,
            duration: Some("2s".to_owned()),
            rate: None,
            clients: None,
            tls: TlsArgs::default(),
        };
        assert_eq!(
            overrides.rerun("run", Path::new("my file.toml"), 7),
            "chatbench run 'my file.toml' --seed 7 --target 'ndjson://[::1]:9' --duration 2s --set a.b=1 \
             --set 'description=\"x y\"'"
        );
    }
}

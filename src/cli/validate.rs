//! `chatbench validate`: check scenarios, print what they would do, run nothing.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use console::measure_text_width;
use humantime::format_duration;

use crate::cli::overrides::Overrides;
use crate::cli::{EXIT_USAGE, complain, fail, print};
use crate::report::Style;
use crate::report::columns::{Align, Columns, Listed};
use crate::report::style::left;
use crate::scenario::estimate::rooms::{ByRoom, Rooms};
use crate::scenario::estimate::{Amount, Estimate};
use crate::scenario::footprint::Footprint;
use crate::scenario::plan::{Arrival, Group, Leave, Load, Plan, Repeat, Step, TargetUrl};
use crate::scenario::promises::promised_in_words;
use crate::scenario::rooms::{GroupRooms, Pick};
use crate::scenario::{self, pace::Profile};
use crate::terminal::visible;
use crate::wire::application::spec::{Outline, Spec};
use crate::wire::protocol::Spoken;

/// Indent, in columns, of the details of a line.
const INDENT: usize = 2;

/// Columns of the labels (`descriptors`) and so the indent of what goes with them.
const LABEL: usize = 13;

/// Arguments of `chatbench validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
    0  all are valid
    2  bad usage, or at least one is not")]
pub struct Args {
    /// Scenario files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    overrides: Overrides,
}

/// Carries out the verb: plans to stdout, diagnostics to stderr, exit code 2 if any scenario is
/// invalid.
#[must_use]
#[allow(clippy::needless_pass_by_value)] // a verb owns its arguments
pub fn main(args: Args) -> ExitCode {
    let files = match scenario::files(&args.paths) {
        Ok(files) => files,
        Err(diagnostics) => {
            complain(&diagnostics);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let style = Style::detect(&io::stdout());
    let (mut valid, mut warned) = (0, 0);
    for file in &files {
        match args.overrides.load(file, &[]) {
            Ok(plan) => {
                valid += 1;
                warned += usize::from(!plan.warnings.is_empty());
                complain(&plan.warnings);
                if let Err(error) = print(&describe(&plan, style)) {
                    return fail(EXIT_USAGE, &error.to_string());
                }
            }
            Err(diagnostics) => complain(&diagnostics),
        }
    }
    let invalid = files.len() - valid;
    if files.len() > 1 {
        let warned = match warned {
            0 => String::new(),
            warned => format!(" ({warned} with warnings)"),
        };
        let all = files.len();
        let counted = format!("{all} scenarios: {valid} valid{warned}, {invalid} invalid");
        let mut text = String::new();
        style.paragraph(&mut text, "", INDENT, &counted);
        if let Err(error) = print(&text) {
            return fail(EXIT_USAGE, &error.to_string());
        }
    }
    if invalid == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_USAGE)
    }
}

fn describe(plan: &Plan, style: Style) -> String {
    let estimate = Estimate::of(plan);
    let mut out = String::new();
    let headline = headline(plan).map(|item| style.text(&item).into_owned());
    style.flow(&mut out, "", INDENT, " · ", headline);
    if let Some(description) = &plan.description {
        let indent = " ".repeat(INDENT);
        for line in description.trim().lines() {
            style.paragraph(&mut out, &indent, INDENT, line);
        }
    }
    out.push('\n');
    print_groups(&mut out, plan, &estimate, style);
    out.push('\n');
    print_totals(&mut out, plan, &estimate, style);
    out.push('\n');
    if let Spoken::Application(spec) = &plan.target.spoken {
        print_session(&mut out, plan, spec, style);
        out.push('\n');
    }
    out
}

/// Prints the messages of one session, of the first client that publishes, with their keys.
fn print_session(out: &mut String, plan: &Plan, spec: &Spec, style: Style) {
    let group = plan.groups.iter().position(|group| group.payload.max > 0);
    let group = group.unwrap_or_default();
    let before = plan.groups[..group].iter().map(|group| group.count);
    let number = plan.run.observers + before.sum::<u32>();
    let client = format!("{}-1", plan.groups[group].name);
    let room = plan.dealt_rooms(group).of(0).first().copied();
    let room = room.map(|room| plan.rooms.name(room));
    let of = format!("of {client}, > sent and < awaited");
    style.paragraph(out, &left("messages", LABEL), LABEL, &of);
    for (rule, outline) in spec.outline(&client, number, room, 0) {
        let (arrow, text) = match &outline {
            Outline::Sent(text) => ('>', text),
            Outline::Awaited(text) => ('<', text),
        };
        let head = format!("{:INDENT$}{arrow} ", "");
        let text = format!("{}  ({rule})", visible(text.trim_end_matches('\n')));
        style.paragraph(out, &head, INDENT + 2, &text);
    }
}

fn headline(plan: &Plan) -> [String; 4] {
    let target = match &plan.target.url {
        TargetUrl::Embedded(protocol) => format!("embedded {protocol} server"),
        TargetUrl::At(url) => url.to_string(),
        TargetUrl::Described(url) => url.to_string(),
    };
    let mut length = format_duration(plan.run.duration).to_string();
    if !plan.run.warmup.is_zero() {
        let _ = write!(length, " (+{} warm-up)", format_duration(plan.run.warmup));
    }
    [
        plan.name.clone(),
        format!("seed {}", plan.seed),
        format!("{} clients → {target}", grouped(plan.clients() as f64)),
        length,
    ]
}

/// Prints a table: each group, its clients, their load, the size and the number of their messages.
fn print_groups(out: &mut String, plan: &Plan, estimate: &Estimate, style: Style) {
    let mut rows = Vec::new();
    for (group, messages) in plan.groups.iter().zip(&estimate.group_messages) {
        let sends = messages.count > 0.0 || messages.open_ended;
        let payload = match (group.payload.min, group.payload.max) {
            _ if !sends => "–".to_owned(),
            (min, max) if min == max => format!("{} B", grouped(min.into())),
            (min, max) => format!("{}–{} B", grouped(min.into()), grouped(max.into())),
        };
        rows.push([
            group.name.clone(),
            grouped(group.count.into()),
            does(group),
            payload,
            if sends {
                amount(*messages)
            } else {
                "–".to_owned()
            },
        ]);
    }
    if plan.run.observers > 0 {
        rows.push([
            "(observers)".to_owned(),
            grouped(plan.run.observers.into()),
            "join first, listen, leave last".to_owned(),
            "–".to_owned(),
            "–".to_owned(),
        ]);
    }
    let rows: Vec<[String; 5]> = rows
        .into_iter()
        .map(|row| row.map(|cell| style.text(&cell).into_owned()))
        .collect();
    let widest = |cells: &mut dyn Iterator<Item = &str>| cells.map(measure_text_width).max();
    let names = widest(&mut rows.iter().map(|[name, ..]| &**name).chain(["group"]));
    let clients = widest(
        &mut rows
            .iter()
            .map(|[_, clients, ..]| &**clients)
            .chain(["clients"]),
    );
    let names = names.unwrap_or(0);
    let mut table = Columns::new("group", names, names);
    let clients = clients.unwrap_or(0) + INDENT;
    table.column("clients", clients, Align::Right, Listed::Counted);
    for (head, listed) in [
        ("does", Listed::Bare),
        ("payload", Listed::Bare),
        ("messages", Listed::Counted),
    ] {
        table.column(head, 0, Align::Left, listed);
    }
    for [name, cells @ ..] in &rows {
        table.row(name, cells.to_vec());
    }
    table.render(style, out);
}

/// The load of a group's clients, in a few words.
fn does(group: &Group) -> String {
    let load = load(group);
    match &group.rooms {
        None => load,
        Some(GroupRooms { rooms, each, .. }) if rooms.len() == 1 && *each == 1 => {
            format!("{load}; in one room")
        }
        Some(GroupRooms { rooms, each, pick }) => {
            let pick = match pick {
                Pick::Even => "",
                Pick::Zipf => ", zipf",
            };
            format!(
                "{load}; each in {each} of {} rooms{pick}",
                grouped(rooms.len() as f64)
            )
        }
    }
}

fn load(group: &Group) -> String {
    match &group.load {
        Load::Listen => "listen".to_owned(),
        Load::Open { profile, arrival } => {
            let arrival = match arrival {
                Arrival::Constant => "",
                Arrival::Poisson => " poisson",
            };
            format!("{}{arrival}", rates(profile))
        }
        Load::Closed { in_flight } => format!("{in_flight} in flight each, as fast as it goes"),
        Load::Script { steps, repeat } => {
            let mut verbs: Vec<&str> = Vec::new();
            for verb in steps.iter().map(verb) {
                if !verbs.contains(&verb) {
                    verbs.push(verb);
                }
            }
            let times = match repeat {
                Repeat::Times(1) => String::new(),
                Repeat::Times(times) => format!("; {times} times"),
                Repeat::Forever => "; until the end".to_owned(),
            };
            format!("{}{times}", verbs.join(", "))
        }
    }
}

/// The most rates of a group's stages that are shown.
const SHOWN_RATES: usize = 8;

/// `500/s`, or the stages' rates in a row: `0 → 100 → 5 000/s`.
fn rates(profile: &Profile) -> String {
    let mut rates: Vec<f64> = Vec::new();
    for piece in profile.pieces() {
        for rate in [piece.from_rate, piece.to_rate] {
            if rates.last() != Some(&rate) {
                rates.push(rate);
            }
        }
    }
    let mut shown: Vec<String> = rates.iter().take(SHOWN_RATES).copied().map(rate).collect();
    if let [.., _, last] = rates.as_slice()
        && rates.len() > SHOWN_RATES
    {
        shown.pop();
        shown.extend(["…".to_owned(), rate(*last)]);
    }
    format!("{}/s", shown.join(" → "))
}

fn verb(step: &Step) -> &'static str {
    match step {
        Step::Connect => "connect",
        Step::Join(_) => "join",
        Step::LeaveRoom(_) => "leave a room",
        Step::Publish { .. } => "publish",
        Step::AwaitAcks { .. } => "await acks",
        Step::Pause { .. } => "pause",
        Step::StopReading(_) => "stop reading",
        Step::SendRaw { .. } => "send raw",
        Step::ExpectError { .. } => "expect error",
        Step::Ask { .. } => "ask",
        Step::Barrier(_) => "barrier",
        Step::Disconnect(Leave::Polite) => "leave",
        Step::Disconnect(Leave::Abort) => "reset",
        Step::Disconnect(Leave::Close) => "close",
    }
}

fn print_totals(out: &mut String, plan: &Plan, estimate: &Estimate, style: Style) {
    let mut total = |name: &str, value: String| {
        let items = value.split(" · ").map(|item| style.text(item));
        style.flow(out, &left(name, LABEL), LABEL, " · ", items);
    };
    let connect_s = plan.clients() as f64 / plan.run.connect_rate;
    let connect_rate = rate(plan.run.connect_rate);
    total(
        "connecting",
        format!("{connect_s:.1} s at {connect_rate}/s"),
    );
    total("messages", amount(estimate.messages));
    total("deliveries", amount(estimate.deliveries));
    if estimate.peak_messages_per_s > 0.0 {
        let sent = rate(estimate.peak_messages_per_s);
        let delivered = rate(estimate.peak_deliveries_per_s);
        total("peak", format!("{sent}/s sent, {delivered}/s delivered"));
    }
    if let Some(rooms) = &estimate.rooms {
        print_rooms(rooms, &mut total);
    }
    if estimate.burst > 1 {
        total(
            "bursts",
            format!("{} messages at once", grouped(estimate.burst as f64)),
        );
    }
    if estimate.bytes_out.count > 0.0 {
        let (sent, received) = (bytes(estimate.bytes_out), bytes(estimate.bytes_in));
        total("bytes", format!("{sent} sent, {received} received"));
    }
    let embedded = match plan.target.url {
        TargetUrl::Embedded(_) => ", and as many in the embedded server",
        TargetUrl::At(_) | TargetUrl::Described(_) => "",
    };
    total(
        "descriptors",
        format!("{}{embedded}", grouped(estimate.fds as f64)),
    );
    let footprint = Footprint::of(plan, estimate);
    let mut memory = format!(
        "{}, at most {} where the target falls behind",
        mebibytes(footprint.driver),
        mebibytes(footprint.driver_at_most)
    );
    if footprint.server > 0 {
        let server = mebibytes(footprint.server);
        let _ = write!(memory, "; up to {server} in the embedded server");
    }
    total("memory", memory);
    total("judged", promised_in_words(&plan.promises).join(" · "));
    if let Some(thresholds) = plan.resolved["thresholds"].as_object() {
        for (i, (metric, exprs)) in thresholds.iter().enumerate() {
            let exprs = exprs.as_array().map_or(&[][..], Vec::as_slice);
            let exprs: Vec<&str> = exprs.iter().filter_map(|e| e.as_str()).collect();
            let name = if i == 0 { "thresholds" } else { "" };
            total(name, format!("{metric} {}", exprs.join(", ")));
        }
    }
}

/// Prints how many rooms there are, how many clients are in them, and how busy they are.
fn print_rooms(rooms: &Rooms, total: &mut impl FnMut(&str, String)) {
    let mut memberships = format!("{} memberships", grouped(rooms.memberships as f64));
    if rooms.memberships_at_most > rooms.memberships {
        let most = grouped(rooms.memberships_at_most as f64);
        let _ = write!(memberships, ", up to {most} with those of scripts");
    }
    let count = grouped(rooms.count as f64);
    let members = by_room(&rooms.members);
    let shown = format!("{count} · {memberships} · {members} members per room");
    total("rooms", shown);
    if rooms.peak_deliveries_per_s.max > 0.0 {
        let delivered = by_room(&rooms.peak_deliveries_per_s);
        total("in a room", format!("{delivered}/s delivered at the peak"));
    }
}

/// What each room has of something: `50`, or `12 to 1 034, 50 on average`.
fn by_room(figures: &ByRoom) -> String {
    let [min, mean, max] = [figures.min, figures.mean, figures.max].map(rate);
    if min == max {
        return max;
    }
    format!("{min} to {max} (on average {mean})")
}

fn mebibytes(bytes: u64) -> String {
    format!(
        "{} MiB",
        grouped((bytes as f64 / f64::from(1 << 20)).ceil())
    )
}

fn amount(amount: Amount) -> String {
    qualified(amount, &rate(amount.count))
}

fn bytes(amount: Amount) -> String {
    let scaled = ["B", "kB", "MB", "GB", "TB"]
        .into_iter()
        .enumerate()
        .find_map(|(i, unit)| {
            let scaled = amount.count / 1000f64.powi(i as i32);
            (scaled < 999.5 || unit == "TB").then(|| {
                let digits = usize::from(scaled < 9.95 && i > 0);
                format!("{scaled:.digits$} {unit}")
            })
        });
    qualified(amount, &scaled.unwrap_or_default())
}

/// How a number is to be understood: an average, a bound, or the least there will be.
fn qualified(amount: Amount, number: &str) -> String {
    if amount.open_ended && amount.count == 0.0 {
        return "as many as the target takes".to_owned();
    }
    match (amount.open_ended, amount.at_most, amount.random) {
        (true, _, _) => format!("{number} or more"),
        (false, true, true) => format!("up to about {number}"),
        (false, true, false) => format!("up to {number}"),
        (false, false, true) => format!("about {number}"),
        (false, false, false) => number.to_owned(),
    }
}

/// A rate, or a number of messages, with decimals where it is small.
fn rate(rate: f64) -> String {
    match rate {
        _ if rate.fract() == 0.0 => grouped(rate),
        ..1.0 => format!("{rate:.2}"),
        ..10.0 => format!("{rate:.1}"),
        _ => grouped(rate),
    }
}

/// A whole number, its digits in threes.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_not_rounded_to_nothing_or_to_twice_as_much() {
        let shown = [0.05, 0.2, 2.25, 10.4, 4_400.0].map(rate);
        assert_eq!(shown, ["0.05", "0.20", "2.2", "10", "4 400"]);
        let few = Amount {
            count: 0.2,
            random: true,
            ..Amount::default()
        };
        assert_eq!(amount(few), "about 0.20");
    }
}

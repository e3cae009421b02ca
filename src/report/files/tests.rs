//! Files and directories as they are checked, written and kept.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::report::{Report, sample};

fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

#[test]
fn a_check_leaves_nothing_behind_and_what_was_there_alone() {
    let dir = tempfile::tempdir().unwrap();
    check_writable(&dir.path().join("new.json")).unwrap();
    assert!(names(dir.path()).is_empty());
    let old = dir.path().join("old.json");
    fs::write(&old, "old").unwrap();
    check_writable(&old).unwrap();
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(names(dir.path()), ["old.json"]);
}

#[test]
fn what_cannot_be_written_is_named_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").unwrap();
    // Not even root may create a file in /proc.
    let table = [
        (dir.path().to_owned(), "is a directory: name a file in it"),
        (at("missing/result.json"), "there is no directory"),
        (at("file/result.json"), "Not a directory"),
        (
            PathBuf::from("/proc/result.json"),
            "cannot write /proc/result.json: ",
        ),
    ];
    for (path, reason) in table {
        for result in [check_writable(&path), write(&path, b"x")] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_new_result_replaces_the_old_one_with_its_permissions_and_through_links() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("result.json"), dir.path().join("latest"));
    fs::write(&file, "old and longer").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    write(&link, b"new").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(dir.path()), ["latest", "result.json"]);
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let null = Path::new("/dev/null");
    check_writable(null).unwrap();
    write(null, b"gone").unwrap();
    assert!(!fs::metadata(null).unwrap().is_file());
}

#[test]
fn a_dash_is_standard_output() {
    assert_eq!(Destination::from(OsString::from("-")), Destination::Stdout);
    let file = Destination::from(OsString::from("a.json"));
    assert_eq!(file, Destination::File("a.json".into()));
    Destination::Stdout.check(false).unwrap();
    let missing = Destination::File("/nowhere/at/all".into());
    assert!(matches!(missing.check(false), Err(Error::NoParent { .. })));
}

#[test]
fn a_directory_gets_result_and_summary_and_keeps_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("results/today");
    let report = sample::report(|_, _| ());
    Directory::prepare(&out, false)
        .unwrap()
        .write(&Rendered::new(&report))
        .unwrap();
    assert_eq!(names(&out), written(&report));
    assert_eq!(fs::read(out.join(RESULT)).unwrap(), report.result.json());
    let summary = fs::read_to_string(out.join(SUMMARY)).unwrap();
    assert!(summary.starts_with("fanout · seed 42"));

    let again = Directory::prepare(&out, false).unwrap_err();
    assert!(
        matches!(&again, Error::HasResult(path) if *path == out),
        "{again}"
    );
    Directory::prepare(&out, true)
        .unwrap()
        .write(&Rendered::new(&report))
        .unwrap();
    assert_eq!(names(&out), written(&report));
}

#[test]
fn what_lies_in_a_directory_without_its_result_is_not_lost_either() {
    for name in [SUMMARY, HTML, JUNIT, HLOG, "relay.hgrm"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "dear").unwrap();
        let error = Directory::prepare(dir.path(), false).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(names(dir.path()), [name]);
        Directory::prepare(dir.path(), true).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "of no concern").unwrap();
    Directory::prepare(dir.path(), false).unwrap();
}

/// All that a directory gets, in the order of the alphabet.
fn written(report: &Report) -> Vec<OsString> {
    let result = report.result.clone();
    let mut names: Vec<_> = [RESULT, SUMMARY, HTML, JUNIT, HLOG]
        .map(str::to_owned)
        .into();
    names.extend(result.classes().map(|(class, ..)| format!("{class}.hgrm")));
    names.sort();
    assert!(names.len() >= 11, "{names:?}");
    names.into_iter().map(OsString::from).collect()
}

#[test]
fn an_earlier_file_is_not_lost_without_force_and_an_empty_one_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.json");
    let destination = Destination::File(path.clone());
    destination.check(false).unwrap();
    fs::write(&path, "").unwrap();
    destination.check(false).unwrap();
    fs::write(&path, "dear").unwrap();
    let error = destination.check(false).unwrap_err();
    assert!(matches!(&error, Error::Exists(p) if *p == path), "{error}");
    destination.check(true).unwrap();
    Destination::File("/dev/null".into()).check(false).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear");
}

#[test]
fn a_directory_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        Directory::prepare(&file, true),
        Err(Error::Io { .. })
    ));
}

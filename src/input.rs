//! Reads files from outside whole, up to a stated limit, so that a device or a wrong file is
//! refused before memory is full.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// The system's error, or an error if it is a directory or larger.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory",
        ));
    }
    let too_long = || {
        let text = format!(
            "it is longer than {} MiB, the most that is read",
            max_bytes >> 20
        );
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    if about.len() > max_bytes {
        return Err(too_long());
    }
    // Devices and pipes state no length, and a file may grow while it is read.
    let mut bytes = Vec::with_capacity(about.len() as usize);
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Reads a text of at most `max_bytes`, without the byte order mark that some editors put first.
///
/// # Errors
/// As [`read`], or where it is no longer valid UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, max_bytes)?).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        let text = format!("it is no text: byte {good}, in line {line}, is not UTF-8");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_refused_beyond() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(read(&file, 1 << 20).unwrap().len(), 1 << 20);
        let refused = |path: &Path| read(path, (1 << 20) - 1).unwrap_err();
        assert_eq!(refused(&file).kind(), io::ErrorKind::FileTooLarge);
        let zero = refused(Path::new("/dev/zero"));
        assert_eq!(
            zero.kind(),
            io::ErrorKind::FileTooLarge,
            "a device has no length to look at"
        );
        let folder = refused(directory.path());
        assert_eq!(folder.to_string(), "it is a directory");
    }

    #[test]
    fn a_text_is_utf8_and_a_byte_order_mark_is_no_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "\u{feff}a = 1").unwrap();
        assert_eq!(read_text(&file, 100).unwrap(), "a = 1");
        fs::write(&file, b"a = 1\nb = \"\xff\"").unwrap();
        let error = read_text(&file, 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is no text: byte 11, in line 2, is not UTF-8"
        );
    }
}

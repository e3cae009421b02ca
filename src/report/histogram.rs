//! Histograms as results hold them: HdrHistogram V2, deflated, in base64. A result may come from
//! anywhere, so no length in it is trusted before it is checked: twelve bytes of a header can ask
//! for gigabytes, and so can a kilobyte of deflated zeros.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{self, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer, Serializer, de};

use crate::measure::{CEILING_NS, DIGITS};

/// The first number of a V2 histogram, deflated and not.
const DEFLATED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;

/// Bytes of the header: cookie, payload's length, offset, digits, lowest, highest, ratio.
const HEADER: usize = 40;

/// Counts of a histogram of [`DIGITS`] digits up to [`CEILING_NS`].
const MOST_COUNTS: u64 = 33_792;

/// The longest that such a histogram can be: at most nine bytes for each count. Those of real runs
/// are some hundred bytes to a few KiB.
const MOST_BYTES: usize = HEADER + MOST_COUNTS as usize * MOST_BYTES_OF_A_COUNT;

const MOST_BYTES_OF_A_COUNT: usize = 9;

/// Samples of all values together: what JSON's numbers hold exactly. The crate adds counts up
/// without a check, and histograms of up to 2,048 runs or seconds may be merged.
const MOST_SAMPLES: u64 = 1 << 53;

/// Writes a histogram as a field of a result.
pub(super) fn serialize<S: Serializer>(
    histogram: &Histogram<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(histogram))
}

/// Reads one back.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Histogram<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).map_err(de::Error::custom)
}

/// Encodes in the form that every HdrHistogram implementation reads.
fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a Vec takes all, and no count exceeds an i64");
    BASE64.encode(bytes)
}

/// Decodes that form.
///
/// # Errors
///
/// Says what is wrong with it.
fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = BASE64.decode(text).map_err(|error| error.to_string())?;
    let plain = inflate(&bytes)?;
    check(&plain)?;
    serialization::Deserializer::new()
        .deserialize(&mut plain.as_slice())
        .map_err(|error| format!("not a histogram: {error}"))
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if number(bytes, 0) != Some(DEFLATED) {
        return Err("not a histogram: not of HdrHistogram's form V2, deflated".to_owned());
    }
    let deflated = &bytes[8..];
    if number(bytes, 4).is_none_or(|length| length as usize != deflated.len()) {
        return Err("not a histogram: it is not as long as it says".to_owned());
    }
    let mut plain = Vec::new();
    ZlibDecoder::new(deflated)
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("not a histogram: {error}"))?;
    if plain.len() > MOST_BYTES {
        return Err(format!("not a histogram: longer than {MOST_BYTES} bytes"));
    }
    Ok(plain)
}

/// Checks that a decompressed histogram matches its header, and has the bounds of a run's
/// histograms.
fn check(plain: &[u8]) -> Result<(), String> {
    let bad = |what: String| Err(format!("not a histogram: {what}"));
    let (Some(PLAIN), Some(length)) = (number(plain, 0), number(plain, 4)) else {
        return bad("no header".to_owned());
    };
    let (Some(digits), Some(lowest), Some(highest)) =
        (number(plain, 12), long(plain, 16), long(plain, 24))
    else {
        return bad("its header is cut short".to_owned());
    };
    if plain.len() < HEADER || length as usize != plain.len() - HEADER {
        return bad(format!("{length} bytes of counts are not what follows"));
    }
    if digits > u32::from(DIGITS) || lowest == 0 || highest > CEILING_NS {
        return bad(format!(
            "{digits} digits from {lowest} to {highest} are beyond what a run records, {DIGITS} \
             from 1 to {CEILING_NS}"
        ));
    }
    let mut samples = 0_u64;
    for count in counts(&plain[HEADER..]) {
        match count {
            Count::Skipped(values) if values > MOST_COUNTS => {
                return bad(format!(
                    "it skips more than the {MOST_COUNTS} values there can be"
                ));
            }
            Count::Skipped(_) => {}
            Count::Samples(n) => samples = samples.saturating_add(n),
        }
    }
    if samples > MOST_SAMPLES {
        return bad(format!("more than {MOST_SAMPLES} samples"));
    }
    Ok(())
}

/// The meaning of one number of a histogram's counts.
enum Count {
    /// A value has so many samples.
    Samples(u64),
    /// So many values have none. The crate negates this without a check.
    Skipped(u64),
}

/// The counts as they are stored: zigzag LEB128, seven bits per byte and a top bit that says that
/// more follow, except that a ninth byte has eight bits. A negative count is a run of so many
/// values without a sample.
fn counts(bytes: &[u8]) -> impl Iterator<Item = Count> {
    let (mut zigzag, mut len) = (0_u64, 0);
    bytes.iter().filter_map(move |&byte| {
        let last = len + 1 == MOST_BYTES_OF_A_COUNT;
        let bits = if last { byte } else { byte & 0x7f };
        zigzag |= u64::from(bits) << (7 * len);
        len += 1;
        if byte >= 0x80 && !last {
            return None;
        }
        let number = zigzag;
        (zigzag, len) = (0, 0);
        Some(if number & 1 == 1 {
            Count::Skipped((number >> 1).saturating_add(1))
        } else {
            Count::Samples(number >> 1)
        })
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The schema of such a field.
#[cfg(test)]
pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^HISTFA",
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use hdrhistogram::serialization::V2Serializer;

    use super::*;
    use crate::measure::histogram;

    fn plain(histogram: &Histogram<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .unwrap();
        bytes
    }

    /// With right lengths and checksums around whatever is inside.
    fn wrapped(plain: &[u8]) -> String {
        let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
        deflated.write_all(plain).unwrap();
        let deflated = deflated.finish().unwrap();
        let length = u32::try_from(deflated.len()).unwrap();
        let bytes = [
            &DEFLATED.to_be_bytes()[..],
            &length.to_be_bytes(),
            &deflated,
        ];
        BASE64.encode(bytes.concat())
    }

    fn filled() -> Histogram<u64> {
        let mut filled = histogram();
        for i in 0..10_000_u64 {
            filled.record(i * i * 1_000).unwrap();
        }
        filled
    }

    #[test]
    fn what_is_written_is_read() {
        for histogram in [histogram(), filled()] {
            assert!(decode(&encode(&histogram)).unwrap() == histogram);
            assert!(decode(&wrapped(&plain(&histogram))).unwrap() == histogram);
        }
        let mut full = histogram();
        let mut value = 0;
        while value < CEILING_NS {
            full.record_n(value.max(1), MOST_SAMPLES / MOST_COUNTS)
                .unwrap();
            value = full.next_non_equivalent(value.max(1));
        }
        let bytes = plain(&full).len();
        assert!(bytes <= MOST_BYTES, "{bytes}");
        assert!(decode(&encode(&full)).unwrap() == full);
    }

    #[test]
    fn no_length_is_believed() {
        let good = plain(&filled());
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            wrapped(&bad)
        };
        let huge = i32::MAX.to_be_bytes();
        let table = [
            (with(4, &huge), "2147483647 bytes of counts"),
            (with(4, &0_u32.to_be_bytes()), "0 bytes of counts"),
            (with(12, &5_u32.to_be_bytes()), "5 digits"),
            (with(12, &u32::MAX.to_be_bytes()), "digits"),
            (with(16, &0_u64.to_be_bytes()), "from 0"),
            (with(24, &u64::MAX.to_be_bytes()), "beyond"),
            (with(HEADER, &[0xff; 9]), "it skips more"),
            // 2^62 samples of one value, then 2^53 and one.
            (
                with(HEADER, &[&[0x80; 8][..], &[0x80]].concat()),
                "more than 9007199254740992 samples",
            ),
            (
                with(HEADER, &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]),
                "more than 9007199254740992 samples",
            ),
            (with(24, &(1_u64 << 62).to_be_bytes()), "beyond"),
            (wrapped(&good[..HEADER - 1]), "not a histogram"),
            (wrapped(&good[..20]), "cut short"),
            (wrapped(&[]), "no header"),
            (wrapped(&vec![0; 100 << 20]), "longer than"),
            (BASE64.encode([0x1c, 0x84]), "V2"),
            (BASE64.encode(PLAIN.to_be_bytes()), "V2"),
            (
                BASE64.encode([DEFLATED.to_be_bytes(), huge].concat()),
                "as long",
            ),
            ("!".to_owned(), "symbol"),
        ];
        for (text, says) in table {
            let error = decode(&text).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn any_changed_byte_is_read_or_refused() {
        let good = plain(&filled());
        for at in 0..good.len().min(400) {
            for change in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= change;
                let _ = decode(&wrapped(&bad));
            }
        }
    }
}

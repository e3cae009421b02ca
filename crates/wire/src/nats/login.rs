//! How a client shows who it is: a user and a password, a token, or an NKEY, with which it signs
//! what the server has drawn.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use thiserror::Error;

/// What a client has to show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Option<Box<str>>,
    /// The user's password.
    pub password: Option<Box<str>>,
    /// A token.
    pub token: Option<Box<str>>,
    /// The seed of a key.
    pub nkey: Option<Seed>,
}

/// Without what is secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What of it stands in a `CONNECT`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Login {
    /// What is said to a server that has drawn `nonce`.
    #[must_use]
    pub fn shown(&self, nonce: &[u8]) -> Shown<'_> {
        let signed = self.nkey.as_ref().map(|seed| seed.sign(nonce));
        let (nkey, sig) = signed.unzip();
        Shown {
            user: self.user.as_deref(),
            pass: self.password.as_deref(),
            auth_token: self.token.as_deref(),
            nkey,
            sig,
        }
    }
}

/// The seed of a user's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; SEED_BYTES]);

const SEED_BYTES: usize = 32;

/// Without what is secret.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed").finish_non_exhaustive()
    }
}

/// Why a text is no seed. The text is not repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSeed {
    /// Not base 32, or of another length.
    #[error("is no seed: that has 58 characters, A to Z and 2 to 7, and begins with SU")]
    NotBase32,
    /// Its checksum is another.
    #[error("is no seed: a character of it is wrong, by its checksum")]
    Checksum,
    /// Of an account, an operator, a server.
    #[error("is the seed of something else than a user: that begins with SU")]
    NotOfUser,
}

/// The kinds of what is written in base 32, by their first bits.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

impl Seed {
    /// Reads a seed as it is written in configurations.
    ///
    /// # Errors
    /// [`BadSeed`].
    pub fn parse(text: &str) -> Result<Self, BadSeed> {
        let bytes = from_base32(text.trim()).ok_or(BadSeed::NotBase32)?;
        let (&[first, second], rest) = bytes.split_first_chunk().ok_or(BadSeed::NotBase32)?;
        let (seed, checksum) = rest.split_first_chunk().ok_or(BadSeed::NotBase32)?;
        let said = <[u8; 2]>::try_from(checksum).map_err(|_| BadSeed::NotBase32)?;
        if u16::from_le_bytes(said) != crc16(&bytes[..2 + SEED_BYTES]) {
            return Err(BadSeed::Checksum);
        }
        let kind = (first & 7) << 5 | second >> 3;
        if first & 0xf8 != SEED || kind != USER {
            return Err(BadSeed::NotOfUser);
        }
        Ok(Self(*seed))
    }

    /// The public key, and the signature of `nonce`, as a server wants both.
    fn sign(&self, nonce: &[u8]) -> (String, String) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).expect("a seed has this length");
        let mut key = vec![USER];
        key.extend_from_slice(pair.public_key().as_ref());
        key.extend_from_slice(&crc16(&key).to_le_bytes());
        let signature = pair.sign(nonce);
        (to_base32(&key), URL_SAFE_NO_PAD.encode(signature))
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648, section 6, without padding.
fn to_base32(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(BASE32[(bits >> count) as usize & 31]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(BASE32[(bits << (5 - count)) as usize & 31]));
    }
    text
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes() {
        let value = BASE32.iter().position(|one| *one == digit)?;
        bits = bits << 5 | value as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    Some(bytes)
}

/// CRC-16 with the polynomial 0x1021 and no initial value (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc >> 15 {
            1 => crc << 1 ^ 0x1021,
            _ => crc << 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    /// Of the documentation of NATS (developing with NKEYs).
    const WRITTEN: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_signs_as_the_user_whose_key_it_is() {
        let seed = Seed::parse(WRITTEN).unwrap();
        let (key, signature) = seed.sign(b"drawn");
        assert_eq!(key, PUBLIC);
        let public = from_base32(&key).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ED25519, &public[1..33])
            .verify(b"drawn", &signature)
            .unwrap();
    }

    #[test]
    fn what_is_no_seed_is_said_without_repeating_it() {
        assert_eq!(Seed::parse(""), Err(BadSeed::NotBase32));
        assert_eq!(Seed::parse("su0"), Err(BadSeed::NotBase32));
        assert_eq!(Seed::parse(&WRITTEN[..57]), Err(BadSeed::NotBase32));
        let wrong = WRITTEN.replace("SUACS", "SUADS");
        assert_eq!(Seed::parse(&wrong), Err(BadSeed::Checksum));
        let debug = format!("{:?}", Seed::parse(WRITTEN));
        assert!(!debug.contains("82"), "{debug}");
    }

    #[test]
    fn base32_and_its_checksum_are_those_of_others() {
        assert_eq!(to_base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(from_base32("MZXW6YTBOI").unwrap(), b"foobar");
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}

//! Other protocols, known by the first words of their servers: to say what answers where another
//! was expected.

/// What speaks so, as a sentence about it; `None` if nothing that is known does.
#[must_use]
pub(super) fn speaker(heard: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| heard.starts_with(with);
    if super::wrong::is_tls(heard) {
        return Some("it speaks TLS");
    }
    if begins(b"INFO {") {
        return Some("it speaks NATS: name it nats://HOST:PORT");
    }
    if begins(b"HTTP/1.") {
        return Some("it speaks HTTP");
    }
    if begins(b"-NOAUTH ") || begins(b"-ERR unknown command") || begins(b"-DENIED ") {
        return Some("it speaks the protocol of Redis");
    }
    if begins(b"{\"type\":\"welcome\"") {
        return Some("it speaks the ndjson dialect: name it ndjson://HOST:PORT");
    }
    if begins(b"SSH-") {
        return Some("it speaks SSH");
    }
    // CONNACK: two bytes follow in MQTT 3.1.1, and more in 5.
    if matches!(heard, [0x20, length, 0 | 1, ..] if *length >= 2) {
        return Some("it speaks MQTT");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_first_words() {
        for (heard, expected) in [
            (&b"INFO {\"server_id\":\"N\"} \r\n"[..], "NATS"),
            (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
            (b"-ERR unknown command 'GET'\r\n", "Redis"),
            (b"{\"type\":\"welcome\",\"protocol\":1}", "ndjson"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
            (b"\x20\x02\x00\x05", "MQTT"),
            (b"SSH-2.0-OpenSSH_9.2", "SSH"),
        ] {
            assert!(speaker(heard).unwrap().contains(expected), "{expected}");
        }
        assert_eq!(speaker(b""), None);
        assert_eq!(speaker(b"hello"), None);
    }
}

-- Prosody, an XMPP server, with rooms (XEP-0045) over WebSocket (RFC 7395), anonymous and in plain.
-- PORT and SCRATCH are filled in by `run`.
modules_enabled = { "saslauth", "disco", "websocket", "ping" }
modules_disabled = { "s2s", "tls" }
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
consider_websocket_secure = true
run_as_root = true
data_path = "SCRATCH"
pidfile = "SCRATCH/pid"
interfaces = { "127.0.0.1" }
c2s_ports = {}
s2s_ports = {}
https_ports = {}
http_ports = { PORT }
http_host = "localhost"
log = { warn = "*console" }

VirtualHost "localhost"
  authentication = "anonymous"

Component "conference.localhost" "muc"
  restrict_room_creation = false
  muc_room_locking = false

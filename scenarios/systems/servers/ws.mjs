// The smallest chat there is over WebSocket: what one client says is sent to all others as it is.
import { WebSocketServer } from "ws";

const port = Number(process.argv[2]);
const server = new WebSocketServer({ host: "127.0.0.1", port });

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    for (const other of server.clients) {
      if (other !== socket) other.send(data, { binary: isBinary });
    }
  });
});

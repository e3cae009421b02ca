// A chat over Socket.IO: rooms, and an acknowledgement of each message.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"] });

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done("ok");
  });
  socket.on("leave", (room, done) => {
    socket.leave(room);
    done("ok");
  });
  socket.on("message", (room, text, done) => {
    socket.to(room).emit("message", text);
    done("ok");
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");

// npm's ws as the service at the other end: what it does is in the path. Prints its port; ends when stdin does.
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  autoPong: false,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("prices.v2") ? "prices.v2" : false),
  verifyClient: ({ req }, done) => {
    const status = /^\/status\/(\d+)/.exec(req.url);
    if (status) done(false, Number(status[1]), "no", { "Retry-After": "7" });
    else done(true);
  },
});

const json = (value) => JSON.stringify(value);
const does = {
  echo: (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })),
  burst: (socket, count) => {
    for (let n = 0; n < Number(count); n += 1) socket.send(json({ type: "tick", id: `t-${n}`, n }));
  },
  binary: (socket) => socket.send(Buffer.from([0, 255, 1])),
  fragments: (socket) => {
    socket.send('{"type":"trade",', { fin: false });
    socket.ping("between");
    socket.send('"n":', { fin: false });
    socket.send("1}", { fin: true });
  },
  big: (socket, size) => socket.send("x".repeat(Number(size))),
  close: (socket, code) => socket.close(Number(code), "bye"),
  terminate: (socket) => setTimeout(() => socket.terminate(), 50),
  silent: (socket) => socket.send(json({ type: "hello" })),
  protocol: (socket) => socket.send(json({ type: "hello", protocol: socket.protocol, extensions: socket.extensions })),
  subscribe: (socket) =>
    socket.on("message", (data) => {
      const asked = JSON.parse(data);
      socket.send(json({ type: "noise" }));
      socket.send(json({ result: "ok", op: asked.op }));
      socket.send(json({ type: "tick", id: `${asked.channel}-1` }));
    }),
  repeats: (socket) => {
    const timer = setInterval(() => socket.send(json({ id: "m-1" })), 50);
    socket.on("message", (data) => {
      clearInterval(timer);
      socket.send(json({ id: "m-2", heard: JSON.parse(data) }));
    });
  },
};

server.on("connection", (socket, request) => {
  const [, name, argument] = request.url.split("?")[0].split("/");
  if (name !== "silent") socket.on("ping", (data) => socket.pong(data));
  socket.on("error", () => {});
  does[name](socket, argument);
});
server.on("listening", () => console.log(json({ port: server.address().port })));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

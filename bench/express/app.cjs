// The webhooks of the 2021 tutorial in Express, as it had them: state in memory, nothing checked, nothing kept.
// It listens on 127.0.0.1, on the port it is given or any free one, and writes that port as its first line.
// ROOMS in the environment is a JSON object of PIN -> session id.
const express = require("express");

const rooms = new Map(Object.entries(JSON.parse(process.env.ROOMS ?? "{}")));
const phones = new Map(); // leg -> session id, while it is in a room

const app = express();
app.use(express.json());
app.use(express.urlencoded({ extended: false }));

const talk = (text) => ({ action: "talk", text });
const join = (session) => [{ action: "conversation", name: session }];

app.all("/voice-answer", (request, response) => {
  const call = { ...request.query, ...request.body };
  const session = call["SipHeader_X-OpenTok-SessionId"];
  if (session) {
    response.json(join(session));
    return;
  }
  response.json([
    { ...talk("Please enter a pin code to join the session, followed by the hash key."), bargeIn: true },
    {
      action: "input",
      type: ["dtmf"],
      dtmf: { timeOut: 8, maxDigits: 11, submitOnHash: true },
      eventUrl: ["https://calls.example.com/voice-dtmf"],
      eventMethod: "POST",
    },
  ]);
});

app.all("/voice-dtmf", (request, response) => {
  const { uuid, dtmf } = { ...request.query, ...request.body };
  const session = rooms.get(dtmf?.digits ?? "");
  if (!session) {
    response.json([talk("That pin code is not right. Goodbye.")]);
    return;
  }
  phones.set(uuid, session);
  response.json(join(session));
});

app.all("/voice-events", (request, response) => {
  const { uuid, status } = { ...request.query, ...request.body };
  if (status === "completed") phones.delete(uuid);
  response.json({ ok: true });
});

const server = app.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => console.log(server.address().port));

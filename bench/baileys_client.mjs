// All clients of Baileys in one process, as gateways built on it run them. Driven by bench/baileys.py:
// standard input gets one JSON object {proxy, root, count, concurrency}, then, once it has said `K INDEX NOISE IDENTITY`
// for each client, one line `JID LID` for each. It connects them, and says `C INDEX TIME` and `D INDEX TIME` for connected
// and disconnected, in seconds since the epoch. A client that is disconnected is connected again: at once, then
// every two seconds.

import { createInterface } from "node:readline";
import { HttpsProxyAgent } from "https-proxy-agent";
import makeWASocket, { initAuthCreds, WA_CERT_DETAILS } from "baileys";

const RETRY_MS = 2000;
const silent = { level: "silent", child: () => silent };
for (const level of ["trace", "debug", "info", "warn", "error", "fatal"]) silent[level] = () => {};

const say = (text) => process.stdout.write(text + "\n");
process.stdin.once("end", () => process.exit(0)); // it does not outlive who started it
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => (await lines.next()).value;

const { proxy, root, count, concurrency } = JSON.parse(await next());
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(root, "hex");

const memoryStore = () => {
  const kept = {};
  return {
    get: (type, ids) => Object.fromEntries(ids.map((id) => [id, kept[type]?.[id]])),
    set: (changes) => {
      for (const type in changes) kept[type] = { ...kept[type], ...changes[type] };
    },
  };
};

const clients = [];
for (let index = 0; index < count; index++) {
  const creds = initAuthCreds();
  clients.push({ creds, keys: memoryStore() });
  say(`K ${index} ${hex(creds.noiseKey.public)} ${hex(creds.signedIdentityKey.public)}`);
}
for (const { creds } of clients) {
  const [id, lid] = (await next()).split(" ");
  Object.assign(creds, { me: { id, lid, name: "bench" }, registered: true });
}

function hex(bytes) {
  return Buffer.from(bytes).toString("hex");
}

function connect(index, opened) {
  const socket = makeWASocket({
    auth: clients[index],
    agent: new HttpsProxyAgent(proxy),
    logger: silent,
    markOnlineOnConnect: false,
    syncFullHistory: false,
    shouldSyncHistoryMessage: () => false,
  });
  let wasOpen = false;
  socket.ev.on("creds.update", (changes) => Object.assign(clients[index].creds, changes));
  socket.ev.on("connection.update", ({ connection }) => {
    if (connection === "open") {
      wasOpen = true;
      say(`C ${index} ${Date.now() / 1000}`);
      opened();
    } else if (connection === "close") {
      if (wasOpen) say(`D ${index} ${Date.now() / 1000}`);
      setTimeout(() => connect(index, opened), wasOpen ? 0 : RETRY_MS);
    }
  });
}

const waiting = clients.keys();
const worker = async () => {
  for (const index of waiting) await new Promise((opened) => connect(index, opened));
};
await Promise.all(Array.from({ length: concurrency }, worker));

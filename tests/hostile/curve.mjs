// One request over zeromq.js and CURVE.
//
//     node curve.mjs MODULES tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY
//
// Prints the reply, or "no answer" when none came within two seconds.
import { createRequire } from "node:module";

const [modules, address, curveServerKey, curvePublicKey, curveSecretKey] = process.argv.slice(2);
const { Dealer } = createRequire(`${modules}/`)("zeromq");
const dealer = new Dealer({ curveServerKey, curvePublicKey, curveSecretKey, receiveTimeout: 2000, linger: 0 });
dealer.connect(address);
try {
  await dealer.send(JSON.stringify({ op: "ping", id: 1 }));
  const [reply] = await dealer.receive();
  console.log(reply.toString());
} catch {
  console.log("no answer");
}
dealer.close();

// The published clients of x402 version 1, x402 version 2 and MPP pay quotes of a gateway, whose tokens are simulated.
//
//   node pay.mjs <calyx_gateway>
//
// Beside this file `./dev clients` puts the packages of package.json. Nothing here reaches beyond this machine: signing
// needs no chain. The key is the first of the well-known ones of every Ethereum test chain.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { ExactEvmScheme } from "@x402/evm";
import { wrapFetchWithPayment as wrapVersion2, x402Client } from "@x402/fetch";
import { Mppx } from "mppx/client";
import { evm } from "mppx/evm/client";
import { createWalletClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { base } from "viem/chains";
import { wrapFetchWithPayment as wrapVersion1 } from "x402-fetch";

const account = privateKeyToAccount("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
const ours = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

const gateway = spawn(
  process.argv[2],
  ["--port", "0", "--issue-operator-key", "--simulated-tokens", `base/${account.address}=1000000000`],
  { stdio: ["ignore", "pipe", "inherit"] },
);
process.on("exit", () => gateway.kill());

let url = "";
let operatorKey = "";
for await (const line of createInterface({ input: gateway.stdout })) {
  operatorKey ||= line.match(/^operator key: (.*)$/)?.[1] ?? "";
  url ||= line.match(/listening on (http:.*)$/)?.[1] ?? "";
  if (url && operatorKey) break;
}

async function ask(method, path, key, body, headers = {}) {
  const answer = await fetch(url + path, {
    method,
    headers: { "X-API-Key": key, ...(body && { "Content-Type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, body: await answer.json() };
}
async function settings(network, realm = "calyx.example") {
  const set = await ask("PUT", "/v1/settings", operatorKey, {
    base_url: url,
    realm,
    networks: [{ network, pay_to: ours }],
  });
  assert.equal(set.status, 200);
}

await settings("base");
const wallet = await ask("POST", "/v1/wallets", operatorKey, { owner_type: "human", owner_id: "a" });
const key = wallet.body.api_key;
const balance = async () => (await ask("GET", `/v1/wallets/${wallet.body.id}`, key)).body.balance;
async function quote(amount, more = {}) {
  const made = await ask("POST", "/api/v1/account/quotes/topup", key, { amount, ...more });
  assert.equal(made.status, 201);
  return made.body.pay;
}

// Each wraps `fetch` as its documentation says, with its own limits of what it spends raised.
const clients = {
  "x402-fetch": {
    header: "X-PAYMENT",
    response: "X-PAYMENT-RESPONSE",
    wrap: (inner) => wrapVersion1(inner, createWalletClient({ account, chain: base, transport: http() }), 10_000_000n),
  },
  "@x402/fetch": {
    header: "PAYMENT-SIGNATURE",
    response: "PAYMENT-RESPONSE",
    wrap: (inner) =>
      wrapVersion2(
        inner,
        new x402Client().register("eip155:*", new ExactEvmScheme(account)).setSpendControls(false),
      ),
  },
  mppx: {
    header: "Authorization",
    response: "Payment-Receipt",
    wrap: (inner) =>
      Mppx.create({
        methods: [
          evm({ account, maxAmount: "10", decimals: 6, authorization: { name: "USD Coin", version: "2" } }),
        ],
        fetch: inner,
        polyfill: false,
      }).fetch,
  },
};

let paid = 0;
for (const [name, client] of Object.entries(clients)) {
  console.log(name);
  let words = null; // what the client sent
  const listening = async (input, init) => {
    const request = new Request(input, init);
    words = request.headers.get(client.header) ?? words;
    return fetch(request);
  };
  const pay = (path) => client.wrap(listening)(url + path, { method: "POST", headers: { "X-API-Key": key } });

  // The first payment.
  const before = await balance();
  const first = await quote(500);
  const answer = await pay(first);
  assert.equal(answer.status, 200, await answer.clone().text());
  assert.equal((await answer.json()).status, "paid");
  assert.ok(answer.headers.get(client.response), `${client.response} is missing`);
  assert.equal(await balance(), before + 500);
  ++paid;
  const wordsOfFirst = words;

  // A call that lacks balance, made by the same wrapped fetch as any other: it pays, and the call is done.
  const lacking = before + 500 + 500;
  const spent = await client.wrap(listening)(`${url}/v1/wallets/${wallet.body.id}/spend`, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify({ job_id: `paid-by-${name}`, amount: lacking }),
  });
  assert.equal(spent.status, 200, await spent.clone().text());
  assert.equal((await spent.json()).job_id, `paid-by-${name}`);
  assert.ok(spent.headers.get(client.response), `${client.response} is missing`);
  assert.equal(await balance(), 0);
  const released = await ask("POST", `/v1/wallets/${wallet.body.id}/release`, key, { job_id: `paid-by-${name}` });
  assert.equal(released.status, 200);
  assert.equal(await balance(), lacking);
  words = wordsOfFirst;

  // The same again, as after an answer that was lost; then on another quote.
  const again = await ask("POST", first, key, undefined, { [client.header]: words });
  assert.equal(again.status, 200);
  assert.equal(again.headers.get("Idempotent-Replayed"), "true");
  assert.equal(again.headers.get(client.response), answer.headers.get(client.response));
  const elsewhere = await ask("POST", await quote(500), key, undefined, { [client.header]: words });
  assert.equal(elsewhere.status, name === "mppx" ? 402 : 409);
  assert.equal(elsewhere.body.error.code ?? elsewhere.body.error, name === "mppx" ? "invalid-challenge" : "payment_reused");

  // For less than is asked.
  const dear = await ask("POST", await quote(501), key, undefined, { [client.header]: words });
  assert.equal(dear.status, 402);
  assert.equal(dear.body.code, "payment_invalid");

  // For a quote whose time is over.
  const short = await quote(500, { expires_in_s: 1 });
  await new Promise((wake) => setTimeout(wake, 1_100));
  const late = await pay(short);
  assert.equal(late.status, 410);

  // On a chain that is not taken any more.
  const open = await quote(500);
  await settings("megaeth");
  const other = await ask("POST", open, key, undefined, { [client.header]: words });
  assert.equal(other.status, 402);
  assert.equal(other.body.code, "payment_invalid");
  await settings("base");

  assert.equal(await balance(), lacking);
}
assert.equal(paid, 3);
gateway.kill("SIGTERM");
console.log(`${paid} clients have paid`);
process.exit(0);

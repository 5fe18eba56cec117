// GitHub's own library: reads a JSON list of asks from stdin, prints the list of answers.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

// A module that `require` does not take, in a folder where `import` does not look.
const folder = join(process.env.NODE_PATH, "@octokit", "webhooks-methods");
const { exports: entries } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const entry = pathToFileURL(join(folder, entries["."].node.import));

(async () => {
  const { sign, verify } = await import(entry);
  const answers = [];
  for (const ask of JSON.parse(readFileSync(0, "utf8"))) {
    answers.push(
      ask.do === "sign"
        ? { "x-hub-signature-256": await sign(ask.secret, ask.body) }
        : await verify(ask.secret, ask.body, ask.headers["x-hub-signature-256"]),
    );
  }
  console.log(JSON.stringify(answers));
})();

const fs = require("node:fs");
fs.appendFileSync(process.env.GITHUB_STATE, `name<<END\n${process.env["INPUT_GIVEN-NAME"]}\nEND\n`);
fs.appendFileSync(process.env.GITHUB_OUTPUT, "main=done\n");

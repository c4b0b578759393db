// Read each workflow that is named with GitHub's own parser, print its mistakes with their lines, and end with 1 where there
// are any. The parser is made for bundlers: it imports JSON without saying so, which Node asks for.
import { readFileSync } from "node:fs";
import { register } from "node:module";

const sayJson = `export async function resolve(name, context, next) {
  const module = await next(name, context);
  return name.endsWith(".json") ? { ...module, importAttributes: { type: "json" } } : module;
}`;
register(`data:text/javascript,${encodeURIComponent(sayJson)}`);
const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import("@actions/workflow-parser");

for (const name of process.argv.slice(2)) {
  const { context, value } = parseWorkflow({ name, content: readFileSync(name, "utf8") }, new NoOperationTraceWriter());
  const { jobs = [], errors = [] } = value ? await convertWorkflowTemplate(context, value) : {};
  const mistakes = new Set([...context.errors.getErrors(), ...errors].map((error) => error.message ?? error.Message));
  for (const mistake of mistakes) console.error(mistake);
  if (mistakes.size || !jobs.length) process.exitCode = 1;
  console.log(`${name}: ${jobs.length} jobs, ${mistakes.size} mistakes`);
}

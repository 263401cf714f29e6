// Runs CloudFront Functions: reads a line of JSON for each request, {code, event}, and writes one for each,
// {result} or {error}. A function sees the language alone, neither Node's modules nor the network.
const vm = require('node:vm');
const lines = require('node:readline').createInterface({ input: process.stdin });

const contexts = new Map();
const LONGEST_MILLISECONDS = 1000;

function contextOf(code) {
    if (!contexts.has(code)) {
        const context = vm.createContext({ console: { log() {} } });
        vm.runInContext(code, context);
        contexts.set(code, context);
    }
    return contexts.get(code);
}

lines.on('line', function (line) {
    let answer;
    try {
        const { code, event } = JSON.parse(line);
        const context = contextOf(code);
        context.event = event;
        const result = vm.runInContext('handler(event)', context, { timeout: LONGEST_MILLISECONDS });
        answer = { result };
    } catch (error) {
        answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
});

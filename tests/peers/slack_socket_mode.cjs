// Slack's own JavaScript client, as tests/peers/slack_sdk_client.py is for Python: same arguments, same output.
const { SocketModeClient, LogLevel } = require('@slack/socket-mode');

const [, , apiUrl, appToken] = process.argv;
const tell = (fields) => console.log(JSON.stringify(fields));
const quiet = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {}, getLevel: () => LogLevel.ERROR, setName() {} };
const client = new SocketModeClient({
  appToken,
  clientOptions: { slackApiUrl: apiUrl, retryConfig: { retries: 0 } },
  clientPingTimeout: 2000,
  logger: quiet,
});

client.on('connected', () => tell({ hello: true }));
client.on('slack_event', async ({ ack, envelope_id, type, body, retry_num, retry_reason }) => {
  if (!envelope_id) return;
  tell({ type, envelope_id, payload: body, attempt: retry_num, reason: retry_reason });
  const ignored = body.event && body.event.text === 'ignore' && !retry_num;
  if (!ignored) await ack();
});

client.start().catch((error) => tell({ refused: (error.data && error.data.error) || String(error) }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

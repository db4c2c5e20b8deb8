// The official clients in TypeScript: of the version without sessions (client), and of those before it (sdk). Prints a line of JSON
// for each.

import {Client, StreamableHTTPClientTransport} from '@modelcontextprotocol/client';
import {Client as ClientOfSessions} from '@modelcontextprotocol/sdk/client/index.js';
import {StreamableHTTPClientTransport as TransportOfSessions} from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {CreateMessageRequestSchema, ToolListChangedNotificationSchema} from '@modelcontextprotocol/sdk/types.js';

const url = new URL(process.argv[2]);
const info = {name: 'xt', version: '1'};
const answer = async ({params}) => {
    const {text} = params.messages[0].content;
    return {role: 'assistant', model: 'x', content: {type: 'text', text: text.toUpperCase()}};
};

async function seen(client, changed) {
    const progress = [];
    const {tools} = await client.listTools();
    const onprogress = ({progress: done}) => progress.push(done);
    const call = {name: 'test_tool_with_progress', arguments: {}};
    await (client instanceof Client ? client.callTool(call, {onprogress}) : client.callTool(call, undefined, {onprogress}));
    const asked = await client.callTool({name: 'test_sampling', arguments: {prompt: 'hello'}});
    await client.callTool({name: 'test_trigger_tool_change', arguments: {}});
    await changed;
    return {tools: tools.length, progress, text: asked.content[0].text, changed: true};
}

{
    const client = new Client(info, {capabilities: {sampling: {}}, versionNegotiation: {mode: 'auto'}});
    client.setRequestHandler('sampling/createMessage', answer);
    const changed = new Promise(done => client.setNotificationHandler('notifications/tools/list_changed', done));
    await client.connect(new StreamableHTTPClientTransport(url));
    const subscription = await client.listen({toolsListChanged: true});
    console.log(JSON.stringify({version: client.getNegotiatedProtocolVersion(), ...await seen(client, changed)}));
    await subscription.close();
    await client.close();
}

{
    const client = new ClientOfSessions(info, {capabilities: {sampling: {}}});
    client.setRequestHandler(CreateMessageRequestSchema, answer);
    const changed = new Promise(done => client.setNotificationHandler(ToolListChangedNotificationSchema, done));
    const transport = new TransportOfSessions(url);
    await client.connect(transport);
    console.log(JSON.stringify({version: transport.protocolVersion, ...await seen(client, changed)}));
    await transport.terminateSession();
    await client.close();
}

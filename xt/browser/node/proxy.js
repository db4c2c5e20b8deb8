// A proxy as the development servers of webpack and its kin have it: http-proxy, with compression in front of it.
//
//   node xt/browser/node/proxy.js PORT TO

const compression = require('compression')();
const { createServer } = require('node:http');
const { createProxyServer } = require('http-proxy');

const [port, to] = process.argv.slice(2);
const proxy = createProxyServer({target: `http://127.0.0.1:${to}`});
proxy.on('error', (error, request, response) => response.destroy());
createServer((request, response) => {
    compression(request, response, () => proxy.web(request, response));
}).listen(+port, '127.0.0.1');

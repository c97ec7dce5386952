// Writes the requests that the n8n node makes, as data. Usage: npm pack n8n-nodes-evolution-api, unpack it, then
//   node record_n8n.js path/to/package > n8n_requests.json
// Nothing is sent: the node's own code runs with a stand-in for n8n that returns parameters and keeps the request.
'use strict';
const Module = require('module');
const path = require('path');

const load = Module._load;
Module._load = (name, ...rest) =>
	name === 'n8n-workflow' ? { NodeOperationError: Error, NodeApiError: Error } : load(name, ...rest);

const root = path.resolve(process.argv[2]);
const { EvolutionApi } = require(path.join(root, 'dist/nodes/EvolutionApi/EvolutionApi.node.js'));
const { resourceOperationsFunctions: run } = require(path.join(root, 'dist/nodes/EvolutionApi/execute/index.js'));
const node = new EvolutionApi();

/** What the form shows when nothing was changed, for one operation. */
function defaults(resource, operation, chosen) {
	const given = { resource, operation, ...chosen };
	const found = {};
	for (const field of node.description.properties) {
		const show = (field.displayOptions || {}).show || {};
		const shown = Object.entries(show).every(([name, values]) => values.includes(given[name]));
		if (shown && !(field.name in found)) found[field.name] = field.default;
	}
	return { ...found, ...chosen };
}

async function record(resource, operation, chosen = {}) {
	const values = defaults(resource, operation, { instanceName: 'sales', ...chosen });
	let request;
	await run[resource][operation]({
		getNodeParameter: (name, _item, fallback) => (name in values ? values[name] : fallback),
		getCredentials: async () => ({ 'server-url': '', apikey: 'KEY' }),
		getNode: () => ({}),
		getInputData: () => [{}],
		continueOnFail: () => false,
		helpers: { request: async (options) => ((request = options), {}) },
	});
	const { method, uri, headers, body, json } = request;
	return { resource, operation, chosen, method, uri, headers, ...(body === undefined ? {} : { body }), json };
}

const instances = 'instances-api';
const events = 'events-api';
const settings = {
	rejectCall: true, msgCall: 'No calls', groupsIgnore: true, alwaysOnline: false,
	readMessages: false, syncFullHistory: false, readStatus: true,
};
const proxy = {
	proxyHost: '127.0.0.1', proxyPort: '3128', proxyProtocol: 'http', proxyUsername: 'user', proxyPassword: 'pass',
};
const create = (name) => `options_Create_instance.${name}`;

const cases = {
	create: [instances, 'instance-basic'],
	create_with_everything: [instances, 'instance-basic', {
		instanceName: 'support', token: 'TOKEN-OF-SUPPORT', number: '5511999990000',
		[create('instanceSettings.settings')]: settings,
		[create('proxy.proxySettings')]: proxy,
		[create('webhook.webhookSettings')]: {
			webhookUrl: 'https://n8n.example.org/webhook/wa', webhookByEvents: true, webhookBase64: true,
			webhookEvents: ['CONNECTION_UPDATE', 'QRCODE_UPDATED', 'MESSAGES_UPSERT'],
		},
		[create('rabbitmq.rabbitmqSettings')]: { rabbitmqEnabled: true, rabbitmqEvents: ['MESSAGES_UPSERT'] },
	}],
	create_with_empty_webhook: [instances, 'instance-basic', {
		instanceName: 'support', [create('webhook.webhookSettings')]: { webhookUrl: '' },
	}],
	create_with_chatwoot: [instances, 'instance-basic', {
		instanceName: 'support',
		[create('chatwoot.chatwootSettings')]: {
			chatwootAccountId: '1', chatwootToken: 'chatwoot-token', chatwootUrl: 'https://chatwoot.example.org',
			chatwootSignMsg: true,
		},
	}],
	connect: [instances, 'instance-connect'],
	fetch_one: [instances, 'fetch-instances'],
	fetch_all: [instances, 'fetch-instances', { instanceName: '' }],
	settings: [instances, 'instance-settings', settings],
	settings_defaults: [instances, 'instance-settings'],
	presence: [instances, 'set-presence'],
	set_proxy: [instances, 'set-proxy', { resourceForProxy: 'setProxy', ...proxy }],
	unset_proxy: [instances, 'set-proxy', { resourceForProxy: 'setProxy', enabled: false }],
	find_proxy: [instances, 'set-proxy', { resourceForProxy: 'findProxy' }],
	restart: [instances, 'restart-instance'],
	logout: [instances, 'logout-instance'],
	delete: [instances, 'delete-instance'],
	set_webhook: [events, 'webhook', {
		resourceForWebhook: 'setWebhook', webhookUrl: 'https://n8n.example.org/webhook/wa', webhookByEvents: true,
		webhookEvents: ['CONNECTION_UPDATE', 'QRCODE_UPDATED'],
	}],
	unset_webhook: [events, 'webhook', { resourceForWebhook: 'setWebhook', enabled: false }],
	find_webhook: [events, 'webhook', { resourceForWebhook: 'findWebhook' }],
	set_chatwoot: ['integrations-api', 'chatwoot', {
		resourceForChatwoot: 'setChatwoot', chatwootAccountId: '1', chatwootToken: 'chatwoot-token',
		chatwootUrl: 'https://chatwoot.example.org',
	}],
	find_chatwoot: ['integrations-api', 'chatwoot', { resourceForChatwoot: 'findChatwoot' }],
	send_text: ['messages-api', 'send-text', { remoteJid: '5511999990000', messageText: 'hello', options_message: {} }],
};

(async () => {
	const { name, version } = require(path.join(root, 'package.json'));
	const requests = {};
	for (const [label, args] of Object.entries(cases)) requests[label] = await record(...args);
	process.stdout.write(JSON.stringify({ package: name, version, requests }, null, '\t') + '\n');
})();

-- A database as release 0.1.0 made it: schema version 1, two instances, their history and their outbox.
-- It is never changed: what later releases do to it is what they do to their users' databases.
BEGIN TRANSACTION;
CREATE TABLE cleanup (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL,
  what TEXT NOT NULL,
  created_at REAL NOT NULL
);
CREATE TABLE delivery (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  event_seq INTEGER NOT NULL REFERENCES event (seq) ON DELETE CASCADE,
  instance_id TEXT,
  destination TEXT NOT NULL,
  scope TEXT NOT NULL,
  target TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL,
  next_at REAL,
  last_error TEXT,
  created_at REAL NOT NULL,
  delivered_at REAL
);
INSERT INTO "delivery" VALUES(1,1,'6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001','https://n8n.example.org/hook','instance','{"url":"https://n8n.example.org/hook"}','delivered',1,NULL,NULL,4000000000.0,4000000001.0);
INSERT INTO "delivery" VALUES(2,2,'6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001','https://n8n.example.org/hook','instance','{"url":"https://n8n.example.org/hook"}','failed',10,NULL,'HTTP 503',4000000002.0,NULL);
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  instance_id TEXT,
  instance_name TEXT NOT NULL,
  event TEXT NOT NULL,
  data TEXT,
  secret TEXT,
  secret_until REAL,
  sender TEXT,
  apikey TEXT,
  created_at REAL NOT NULL
);
INSERT INTO "event" VALUES(1,'0a7c1d1e-0000-4000-8000-000000000001','6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001','sales','instance.create','{"instanceId":"6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001"}',NULL,NULL,'5511999990001@s.whatsapp.net','1F0C5E7B9A3D4C21A4',4000000001.0);
INSERT INTO "event" VALUES(2,'0a7c1d1e-0000-4000-8000-000000000002','6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001','sales','connection.update','{"state":"open","statusReason":200}',NULL,NULL,'5511999990001@s.whatsapp.net','1F0C5E7B9A3D4C21A4',4000000002.0);
CREATE TABLE history (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL REFERENCES instance (id) ON DELETE CASCADE,
  at REAL NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('disconnection', 'recovery')),
  code INTEGER,
  name TEXT,
  cause TEXT,
  action TEXT,
  duration_s REAL,
  previous_phase TEXT,
  incarnation INTEGER,
  attempt INTEGER,
  strategy TEXT,
  result TEXT,
  detail TEXT NOT NULL
);
INSERT INTO "history" VALUES(1,'6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001',4000000000.5,'disconnection',428,'connectionClosed','','reconnect',600.5,'open',4,1,NULL,NULL,'{}');
INSERT INTO "history" VALUES(2,'6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001',4000000002.75,'recovery',428,'connectionClosed','',NULL,2.25,NULL,5,1,'reconnect','success','{}');
CREATE TABLE instance (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  token TEXT NOT NULL UNIQUE,
  number TEXT,
  owner_jid TEXT,
  device_jid TEXT,
  profile_name TEXT,
  profile_pic_url TEXT,
  integration TEXT NOT NULL,
  client_name TEXT NOT NULL,
  desired TEXT NOT NULL CHECK (desired IN ('up', 'down')),
  phase TEXT NOT NULL,
  logged_in BOOLEAN NOT NULL,
  failed_reason TEXT,
  disconnection_code INTEGER,
  disconnection_object TEXT,
  disconnection_at REAL,
  recovery_attempts INTEGER NOT NULL,
  qr_count INTEGER NOT NULL,
  settings TEXT NOT NULL,
  webhook TEXT NOT NULL,
  proxy TEXT NOT NULL,
  chatwoot TEXT NOT NULL,
  last_open_at REAL,
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL
);
INSERT INTO "instance" VALUES('6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0001','sales','1F0C5E7B9A3D4C21A4','5511999990001','5511999990001@s.whatsapp.net','5511999990001:7@s.whatsapp.net','Sales',NULL,'WHATSAPP-BAILEYS','zapvisor','down','closed',1,NULL,428,'{"statusCode":428,"name":"connectionClosed","cause":""}',1767225600.5,2,3,'{"rejectCall":true,"msgCall":"not by phone, please"}','{"enabled":true,"url":"https://n8n.example.org/hook","events":["CONNECTION_UPDATE"]}','{"enabled":true,"host":"proxy.example.org","port":"3128","protocol":"http"}','{}',1767225000.0,1767139200.0,1767225600.5);
INSERT INTO "instance" VALUES('6f6b6a52-0b0b-4d6f-9f3e-3f3f5a1c0002','suporte','2F0C5E7B9A3D4C21A4',NULL,NULL,NULL,NULL,NULL,'WHATSAPP-BAILEYS','zapvisor','down','closed',0,NULL,NULL,NULL,NULL,0,0,'{}','{}','{}','{}',NULL,1767139201.0,1767139201.0);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE INDEX history_page ON history (instance_id, id);
CREATE INDEX history_code ON history (instance_id, code, at);
CREATE INDEX history_at ON history (at);
CREATE INDEX event_instance ON event (instance_id, seq);
CREATE INDEX event_created ON event (created_at);
CREATE INDEX event_secret ON event (secret_until) WHERE secret IS NOT NULL;
CREATE INDEX delivery_event ON delivery (event_seq);
CREATE INDEX delivery_instance ON delivery (instance_id, id);
CREATE INDEX delivery_status ON delivery (status, id);
CREATE INDEX delivery_lane ON delivery (destination, id) WHERE status = 'pending';
CREATE INDEX delivery_stream ON delivery (destination, instance_id, id) WHERE status = 'pending';
CREATE INDEX cleanup_instance ON cleanup (instance_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('history',2);
INSERT INTO "sqlite_sequence" VALUES('event',2);
INSERT INTO "sqlite_sequence" VALUES('delivery',2);
COMMIT;

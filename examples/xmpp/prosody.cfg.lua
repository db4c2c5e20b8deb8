-- Prosody: what the bridge of EventSource::XMPP needs, in /etc/prosody/prosody.cfg.lua.

-- A component has no TLS, so Prosody listens on the loopback interface.
component_interfaces = { "127.0.0.1" }

VirtualHost "example.test"

-- The service with the nodes. Its first item creates a node, which keeps 20 items unless its owner configures
-- pubsub#max_items, up to this number.
Component "pubsub.example.test" "pubsub"
  autocreate_on_publish = true
  pubsub_max_items = 256
  -- Who may publish: an editor, and the bridge, for the items of applications (--publish).
  admins = { "editor@example.test", "bridge.example.test" }

-- The bridge. Or give it an account: prosodyctl adduser bridge@example.test
Component "bridge.example.test"
  component_secret = "the secret of the component"

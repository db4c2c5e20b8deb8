-- Prosody: what the bridge of EventSource::XMPP needs in /etc/prosody/prosody.cfg.lua. Choose one of the two ways.

VirtualHost "example.test"
  -- An account for the bridge: prosodyctl adduser bridge@example.test

Component "pubsub.example.test" "pubsub"
  admins = { "editor@example.test" }
  -- A node may keep up to 256 items, 20 unless its owner says otherwise: pubsub#max_items.
  pubsub_max_items = 256
  -- The first item of a node creates it.
  autocreate_on_publish = true
  -- The bridge may publish the items of applications to all nodes.
  default_admin_affiliation = "owner"

-- A component, which has a secret instead of an account. It has no TLS: Prosody listens on the loopback interface.
component_interfaces = { "127.0.0.1" }
Component "bridge.example.test"
  component_secret = "the secret of the component"

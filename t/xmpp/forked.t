# A process that is forked from that of a bridge frees a copy of it, and leaves the session to its parent.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::XMPP;
use Testing::Fork qw(in_child);

# A session that counts how often it was closed.
my $closed = 0;
sub Testing::Session::close { return $closed++ }

my %settings = (
    hub      => EventSource::Hub->new(name => 'forked'),
    jid      => 'bridge@localhost',
    nodes    => ['news'],
    password => 'x',
    service  => 'pubsub.localhost'
);
my $bridge = EventSource::XMPP->new(%settings);
@$bridge{qw(lease process session)} = (1, $$, bless {}, 'Testing::Session');
my $child = in_child(sub { undef $bridge; return $closed });
is $child->(), 0, 'a copy in a forked process closes nothing';
undef $bridge;
is $closed, 1, 'the bridge itself closes its session';

done_testing;

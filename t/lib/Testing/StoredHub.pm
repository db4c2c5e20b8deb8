package Testing::StoredHub;
use Testing;

# A named hub with a store, whose socket is in a folder of its own. That process ends a second after the test,
# or when it is killed. Several objects with the same store are as many machines.
#
#   my $one = Testing::StoredHub->start({redis => $redis->url});
#   my $two = Testing::StoredHub->start({redis => $redis->url});
#   $one->hub->publish(news => 'hello');
#   $two->kill;    # by SIGKILL; then another one serves

use EventSource::Hub;
use File::Temp       ();
use Testing::Process qw(is_running);

my $WITHIN = 20;    # seconds

# Skips the test if hubs have no process here.
sub import {
    return Testing->need('named_hubs');
}

# Returns another object of the same hub, with other settings.
sub again {
    my ($self, %setting) = @_;
    return EventSource::Hub->new($self->settings, %setting);
}

sub folder { return $_[0]{folder}->dirname }

sub hub { return $_[0]{hub} }

sub kill {
    my $self = shift;
    my $pid  = $self->hub->stats->{process}{pid};
    CORE::kill(KILL => $pid);
    ok wait_until($WITHIN, sub { !is_running($pid) }), 'the hub process is killed';

    # A call may find out that the connection is broken; it is not repeated.
    eventually_ok $WITHIN, 'another one serves' => sub {
        eval { $self->hub->stats->{process}{pid} != $pid }
    };
    return;
}

sub settings { return %{$_[0]{settings}} }

sub socket { return $_[0]{settings}{socket} }

# Further settings of the hub follow the store.
sub start {
    my ($class, $store, %setting) = @_;
    my $folder = File::Temp->newdir(TEMPLATE => 'hub-XXXXXX', TMPDIR => 1);
    my %all    = (name => 'shop', socket => "$folder/hub.sock", idle_exit => 1, publish_timeout => $WITHIN, %setting);
    $all{store} = $store if defined $store;
    return bless {folder => $folder, settings => \%all, hub => EventSource::Hub->new(%all)}, $class;
}

# The health of the store.
sub store { return $_[0]->hub->stats->{store} }

1;

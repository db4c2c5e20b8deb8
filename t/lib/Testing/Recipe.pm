package Testing::Recipe;
use Testing;

# A recipe of EventSource::Cookbook for browsers: on Starman with four workers, with a named hub of this test only. The recipe
# takes the socket of its hub from the environment. Ends the hub with the object.
#
#   my $recipe  = Testing::Recipe->start('stock');    # examples/cookbook/stock.psgi, with STOCK_SOCKET
#   my $browser = Testing::Browser->start;
#   $browser->open($recipe->url('/'));

use lib 'examples/live/lib';
use EventSource::Hub;
use Live::Processes;
use Test::EventSource;
use Testing::Browser;
use Testing::Process qw(is_running);
use Testing::Server;

my $WORKERS = 4;

# The hub, as a process outside of the server has it.
sub hub { return $_[0]{hub} }

# Kills a worker, and waits until it accepts no connection any more.
sub kill_worker_ok {
    my $self = shift;
    my ($worker) = Live::Processes::workers($self->{server}->pid);
    ok kill(KILL => $worker) && wait_until(sub { !is_running($worker) }), 'a worker is killed';
    return;
}

sub kill_hub_ok {
    my $self = shift;
    return ok kill(KILL => $self->{hub}->stats->{process}{pid}), 'the hub process is killed';
}

sub pid { return $_[0]{server}->pid }

sub port { return $_[0]{server}->port }

# Posts a form. Returns the status.
sub post {
    my ($self, $path, @form) = @_;
    return Test::EventSource->new(url => $self->url(''), timeout => 10)->post($path, form => \@form)->code;
}

sub socket { return $_[0]{socket} }

# Skips the test file if something that it needs is missing here. More of the server's environment may be given.
sub start {
    my ($class, $name, %env) = @_;
    Testing::Browser->require_or_skip_all;
    Testing->need('named_hubs');
    my $self = bless {folder => new_folder, owner => $$}, $class;
    $self->{socket} = "$self->{folder}/hub.sock";
    $self->{hub}    = EventSource::Hub->new(name => $name, socket => $self->{socket});
    $self->{server} = Testing::Server->start(
        'Starman', "examples/cookbook/$name.psgi",
        workers => $WORKERS,
        env     => {uc($name) . '_SOCKET' => $self->{socket}, %env},
    );
    return $self;
}

sub url { my ($self, $path) = @_; return $self->{server}->url($path) }

sub DESTROY {
    my $self = shift;
    return if $self->{owner} != $$;
    local ($@, $!, $?);
    delete $self->{server};
    Live::Processes::end_hub($self->{socket});
    return;
}

1;

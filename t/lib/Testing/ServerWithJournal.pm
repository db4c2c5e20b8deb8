package Testing::ServerWithJournal;
use strict;
use warnings;

# A server with an application of t/data, and the journal that the application's processes write.
#
#   my $server = Testing::ServerWithJournal->start('Starman', workers => 1);
#   my $client = $server->get('/keep');
#   $server->journal_ok($client, qr/^closed by client$/m, 'on_close reports the reason client');

use Test::More import => ['is'];
use Testing::Client;
use Testing::Deadline qw(wait_until);
use Testing::Journal;
use Testing::Server;

# Public methods

# Returns the body of an ordinary response.
sub ask {
    my ($self, $path, %option) = @_;
    my $client = $self->get($path, http => '1.0', %option);
    return $client->read_all ? $client->body : undef;
}

# Waits until the worker of t/data/callbacks.psgi counts so many children, and makes a test of it.
sub children_ok {
    my ($self, $count, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $counted;
    wait_until(sub { ($counted = $self->ask('/children')) == $count });
    return is $counted, $count, $what;
}

# Sends a request with a tag of its own, under which its handler reports to the journal.
sub get {
    my ($self, $path, %option) = @_;
    my $tag = delete $option{tag} || 'tag' . ++$self->{tags};
    my $client =
        Testing::Client->get($self->{server}->port, $path . ($path =~ /[?]/ ? '&' : '?') . "tag=$tag", %option);
    $client->{tag} = $tag;
    return $client;
}

sub server { return $_[0]{server} }

# Options: psgi, the application's file, t/data/native.psgi by default; those of Testing::Server.
sub start {
    my ($class, $name, %option) = @_;
    my $journal = Testing::Journal->new;
    my $psgi    = delete $option{psgi} || 't/data/native.psgi';
    my $env     = delete $option{env}  || {};
    my $server  = Testing::Server->start($name, $psgi, %option, env => {%$env, NATIVE_JOURNAL => $journal->path});
    return bless {server => $server, journal => $journal, tags => 0}, $class;
}

# Returns the reports of this client's handler so far.
sub journal { return $_[0]{journal}->reports($_[1]{tag}) }

# Waits until a report of this client's handler matches, and makes a test of it.
sub journal_ok {
    my ($self, $client, @rest) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $self->{journal}->report_ok($client->{tag}, @rest);
}

1;

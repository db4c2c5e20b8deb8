package Testing::Stage;
use strict;
use warnings;

# A server with an application of t/data on it, and the journal that its processes write.
#
#   my $stage  = Testing::Stage->start('Starman', workers => 1);
#   my $client = $stage->get('/keep');
#   $stage->told_ok($client, qr/^closed by client$/m, 'its handler is told');

use Testing::Client;
use Testing::Journal;
use Testing::Server;

# Public methods

# The body of an ordinary response.
sub ask {
    my ($self, $path, %option) = @_;
    my $client = $self->get($path, http => '1.0', %option);
    return $client->read_all ? $client->body : undef;
}

# A request with a tag of its own, under which the journal knows it.
sub get {
    my ($self, $path, %option) = @_;
    my $tag = delete $option{tag} || 'tag' . ++$self->{tags};
    my $client =
        Testing::Client->get($self->{server}->port, $path . ($path =~ /[?]/ ? '&' : '?') . "tag=$tag", %option);
    $client->{tag} = $tag;
    return $client;
}

sub journal { return $_[0]{journal} }

sub server { return $_[0]{server} }

# Options: psgi, the application; those of Server.
sub start {
    my ($class, $name, %option) = @_;
    my $journal = Testing::Journal->new;
    my $psgi    = delete $option{psgi} || 't/data/native.psgi';
    my $env     = delete $option{env}  || {};
    my $server  = Testing::Server->start($name, $psgi, %option, env => {%$env, NATIVE_JOURNAL => $journal->path});
    return bless {server => $server, journal => $journal, tags => 0}, $class;
}

sub told { return $_[0]{journal}->told($_[1]{tag}) }

sub told_ok {
    my ($self, $client, @rest) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $self->{journal}->told_ok($client->{tag}, @rest);
}

1;

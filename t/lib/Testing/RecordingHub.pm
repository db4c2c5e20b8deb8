package Testing::RecordingHub;
use strict;
use warnings;

# A stand-in for a hub in tests of PubSub: it records what is published, and its streams send the names of their channels
# and end. answer() returns an application's response to a request, origins_told() what a response says of origins.
#
#   my $hub = Testing::RecordingHub->new;
#   my $app = Plack::App::EventSource::PubSub->new(hub => $hub)->to_app;
#   is answer($app, GET => '/news')->content, 'follows news';

use Exporter qw(import);
use HTTP::Message::PSGI;
use HTTP::Request  ();
use HTTP::Response ();

our @EXPORT_OK = qw(answer origins_told);

sub new { return bless {published => []}, shift }

# The response to a request. Options: headers, a list of names and values; content, in bytes; env, of more of the PSGI
# environment. PATH_INFO is the path, percent-decoded, as servers give it.
sub answer {
    my ($app, $method, $path, %option) = @_;
    my $content  = $option{content};
    my $request  = HTTP::Request->new($method, "http://localhost$path", $option{headers}, $content // ());
    my %env      = %{$option{env} || {}};
    my $env      = $request->to_psgi;
    my $response = HTTP::Response->from_psgi($app->({%$env, %env}));
    $response->request($request);
    return $response;
}

# The headers of a response that are about origins, as one string.
sub origins_told {
    my $response = shift;
    my %told;
    for my $name (grep { /\A(?:access-control-.*|vary)\z/i } $response->headers->header_field_names) {
        $told{lc($name) =~ s/\Aaccess-control-allow-//r} = join '+', $response->header($name);
    }
    return join '; ', map { "$_: $told{$_}" } sort keys %told;
}

# What PubSub asks a hub for.
sub gap_event      { return 'gap' }
sub is_unshared    { return !!0 }
sub position       { return undef }
sub position_event { return 'position' }
sub type_of        { return $_[2]{event} }

sub publish {
    my ($self, $channel, $event) = @_;
    die ref $self->{is_broken} ? $self->{is_broken} : "the hub is broken\n" if $self->{is_broken};
    push @{$self->{published}}, [$channel, $event];
    return $event->{id} // 'epoch-' . @{$self->{published}};
}

# Returns all events that have been published since the last call.
sub published { return splice @{$_[0]{published}} }

sub to_app {
    my ($self, %option) = @_;
    push @{$self->{apps}}, {%option};
    return sub {
        my $env     = shift;
        my @headers = ('Content-Type' => 'text/event-stream', @{$option{headers} || []});
        return sub {
            my $writer = shift->([200, \@headers]);
            my $text   = join ',', $option{channels}->($env);
            utf8::encode($text);
            $writer->write("follows $text");
            $writer->close;
        };
    };
}

1;

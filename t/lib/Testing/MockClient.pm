package Testing::MockClient;
use strict;
use warnings;

# The client of an application that runs in the process of the test, under Plack::Test's MockHTTP. It asks and answers as
# Client does, but a response is there whole or not at all.

use Testing::Client ();
use HTTP::Request;
use Plack::Test;
use Plack::Util;

# Public methods

sub body { return $_[0]{response}->content }

sub complete { return !!1 }

sub ended { return !!1 }

sub get {
    my ($self, $path, %option) = @_;
    my $request  = HTTP::Request->new($option{method} || 'GET', "http://127.0.0.1$path", $option{headers});
    my $response = $self->{test}->request($request);
    return bless {%$self, method => $request->method, response => $response, headers => [@{$self->{seen}}]}, ref $self;
}

sub header { return $_[0]{response}->header($_[1]) }

# In the order in which they came; HTTP::Response has an order of its own.
sub headers { return $_[0]{headers} }

# A client of an application: a .psgi file, with an environment for it.
sub new {
    my ($class, $psgi, $env) = @_;
    local $Plack::Test::Impl = 'MockHTTP';
    @ENV{keys %$env} = values %$env;
    my $app  = Plack::Util::load_psgi($psgi);
    my $self = bless {http => '1.1', seen => []}, $class;
    $self->{test} = Plack::Test->create(
        sub {
            return Plack::Util::response_cb($app->(@_), sub { @{$self->{seen}} = @{$_[0][1]}; return });
        }
    );
    return $self;
}

sub read_all { return !!1 }

sub read_until { return $_[0]->body =~ $_[1] }

sub status { return $_[0]{response}->code }

sub text { return Testing::Client::text({body => $_[0]->body}) }

1;

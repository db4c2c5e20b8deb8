package EventSource::XS::Stream::Obstacle;
use strict;
use warnings;

# Why a stream is not native: the reason, and what to do about it.

our $VERSION = '0.100';

use overload
    '""'     => sub { $_[0]{text} },
    'bool'   => sub { 1 },
    fallback => 1;
use Scalar::Util qw(blessed);

# What to do about the reasons that several modules find.
my %REMEDY = (
    encrypted => 'let a proxy terminate TLS',
    filter    =>
        'exclude text/event-stream from the middleware that filters the body, such as Deflater with a content_type,'
        . ' or mount the stream outside of it',
    limit => 'raise the limit of the system that is reached, such as that of descriptors (ulimit -n)',
);

my $OTHERWISE = 'see NATIVE STREAMS in the documentation of Plack::App::EventSource';

sub new {
    my ($class, $code, $text, $remedy) = @_;
    $remedy = exists $REMEDY{$code} ? $REMEDY{$code} : $OTHERWISE if !defined $remedy;
    return bless {code => $code, text => $text, remedy => $remedy}, $class;
}

# Public methods

sub code { return $_[0]{code} }

# A text that ends with an error of the system is about a limit.
sub of {
    my ($class, $obstacle) = @_;
    return $obstacle                       if blessed $obstacle;
    return $class->new(limit => $obstacle) if $obstacle =~ /: ./;
    return $class->new($obstacle, $obstacle);
}

sub remedy { return $_[0]{remedy} }

1;

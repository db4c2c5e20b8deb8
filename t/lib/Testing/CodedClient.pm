package Testing::CodedClient;
use Testing;

# A client that accepts one content coding, and decodes what has arrived as far as that is possible. gzip is decoded by zlib,
# zstd by curl, whose output this class reads as the response.
#
#   my $client = Testing::CodedClient->get($server->port, '/hub', coding => 'gzip');
#   ok $client->read_until(qr/data: 3/);
#   is length $client->coded, 1_000;
#   ok $client->is_whole;

use parent 'Testing::Client';
use Carp qw(croak);
use Testing::Program;
use Compress::Raw::Zlib qw(WANT_GZIP Z_OK Z_STREAM_END);

# Returns what can be decoded of the beginning of a response with gzip.
sub decoded {
    my ($class, $bytes) = @_;
    my $self = bless {body => ''}, $class;
    $self->_decode($bytes);
    return $self->{body};
}

# Connects to a port of 127.0.0.1, and sends a request. Options: coding, gzip or zstd; accepts, the field Accept-Encoding, by
# default the coding; http and headers, as in Testing::Client.
sub get {
    my ($class, $at, $path, %option) = @_;
    my $coding  = delete $option{coding} || '';
    my $accepts = delete $option{accepts} // $coding;
    push @{$option{headers} ||= []}, 'Accept-Encoding' => $accepts;
    return $class->SUPER::get($at, $path, %option) if $coding ne 'zstd';
    my $self = bless {http => $option{http} || '1.1', method => 'GET', curl => Testing::Program->new('curl')}, $class;
    my @headers = @{$option{headers}};
    my @command = (qw(curl --silent --show-error --no-buffer --include --compressed --globoff), "--http$self->{http}");
    while (my ($name, $value) = splice @headers, 0, 2) { push @command, '--header', "$name: $value" }
    pipe $self->{socket}, my $output or croak "CodedClient: pipe: $!";
    $self->_begin;
    push @command, '--output', '/dev/fd/' . _kept($output), "http://127.0.0.1:$at$path";
    $self->{curl}->run({}, @command);
    close $output;
    return $self;
}

# Returns the bytes of the body as they came; of what curl decodes they are not known.
sub coded { return $_[0]{coded} }

# True if the response has ended with a correct end of the coding.
sub is_whole {
    my $self = shift;
    return $self->complete && $self->{has_coding_ended} if !$self->{curl};
    return $self->ended && wait_until(10, sub { $self->{curl}->has_ended }) && $self->{curl}->stop == 0;
}

sub leave {
    my ($self, @option) = @_;
    $self->{curl}->stop if $self->{curl};
    return $self->SUPER::leave(@option);
}

sub request {
    my ($self, @given) = @_;
    $self->_begin;
    return $self->SUPER::request(@given);
}

sub _begin {
    my $self  = shift;
    my %empty = (raw => '', headers => [], body => '', coded => '', ended => !!0, cut => !!0, has_coding_ended => !!0);
    return %$self = (%$self, %empty);
}

sub _decode {
    my ($self, $bytes) = @_;
    return                                                  if !length $bytes;
    croak 'CodedClient: bytes follow the end of the coding' if $self->{has_coding_ended};
    $self->{decoder} ||= Compress::Raw::Zlib::Inflate->new(-WindowBits => WANT_GZIP, -AppendOutput => 1);
    my $status = $self->{decoder}->inflate($bytes, $self->{body});
    croak "CodedClient: not gzip: $status"                  if $status != Z_OK && $status != Z_STREAM_END;
    return                                                  if $status == Z_OK;
    croak 'CodedClient: bytes follow the end of the coding' if length $bytes;
    return $self->{has_coding_ended} = !!1;
}

# The number of a descriptor that a program inherits.
sub _kept {
    my $handle = shift;
    require Fcntl;
    fcntl $handle, Fcntl::F_SETFD(), 0 or croak "CodedClient: fcntl: $!";
    return fileno $handle;
}

# The body is what can be decoded; the bytes as they came are kept beside it.
sub _parse {
    my $self = shift;
    return $self->SUPER::_parse if $self->{curl};
    my ($before, $decoded) = (length $self->{coded}, $self->{body});
    $self->{body} = $self->{coded};
    $self->SUPER::_parse;
    $self->{coded} = $self->{body};
    return if lc($self->header('Content-Encoding') || '') ne 'gzip';
    $self->{body} = $decoded;
    return $self->_decode(substr $self->{coded}, $before);
}

# curl has decoded the chunks, too.
sub _parse_chunks {
    my $self = shift;
    return $self->SUPER::_parse_chunks if !$self->{curl};
    $self->{body} .= $self->{raw};
    $self->{raw} = '';
    return;
}

1;

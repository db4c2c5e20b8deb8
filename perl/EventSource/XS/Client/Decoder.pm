package EventSource::XS::Client::Decoder;
use strict;
use warnings;

# Takes the content coding off the body of a stream, in pieces of at most 64 KiB: a few compressed bytes may be very many.

my $MAX_TEXT = 65_536;

# Return a decoder, or nothing if the coding is unknown here. The client knows gzip; whoever asks for it knows deflate, too.
sub new {
    my ($class, $coding, $has_deflate) = @_;
    $coding = lc($coding // '');
    return bless {}, $class if $coding eq '' || $coding eq 'identity';
    my $is_known = $has_deflate ? $coding =~ /\A(?:x-)?(?:gzip|deflate)\z/ : $coding =~ /\A(?:x-)?gzip\z/;
    return if !$is_known || !$class->has_gzip;
    my $bits    = $has_deflate ? Compress::Raw::Zlib::WANT_GZIP_OR_ZLIB() : Compress::Raw::Zlib::WANT_GZIP();
    my %how     = (WindowBits => $bits, LimitOutput => 1, Bufsize => $MAX_TEXT);
    my $inflate = Compress::Raw::Zlib::Inflate->new({%how}) or return;
    return bless {inflate => $inflate}, $class;
}

# Public methods

# The codings that a request accepts. identity says that nothing else is understood.
sub codings { return $_[0]->has_gzip ? 'gzip' : 'identity' }

sub has_gzip {
    local $SIG{__DIE__};
    return scalar eval { require Compress::Raw::Zlib; 1 }
}

# True if the last call may have left text inside, though it has taken all bytes.
sub has_more { return !!$_[0]{has_more} }

# Take bytes off the beginning of a string and return their text. If they are damaged, returns the text before the damage, and
# true.
sub next_text {
    my ($self, $bytes) = @_;
    my $inflate = $self->{inflate} or return substr $$bytes, 0, $MAX_TEXT, '';
    my $text    = '';
    my $status  = $inflate->inflate($$bytes, $text);
    $self->{has_more} = length $text >= $MAX_TEXT;
    if ($status == Compress::Raw::Zlib::Z_STREAM_END()) {

        # Some servers write each event as a member of its own (RFC 1952, section 2.2).
        $self->{has_more} = 0;
        $inflate->inflateReset;
    }
    elsif ($status != Compress::Raw::Zlib::Z_OK() && $status != Compress::Raw::Zlib::Z_BUF_ERROR()) {
        return ($text, !!1);
    }
    return $text;
}

1;

package EventSource::XS::Hub::Script;
use strict;
use warnings;

# The PSGI application that serves the browser's half: the files of share/, as make has installed them.
#
# "script_app" in EventSource::Hub has the manual.

use Compress::Zlib  ();
use Digest::SHA     qw(sha256_hex);
use EventSource::XS ();
use EventSource::XS::Request;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use EventSource::XS::Share;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# A page that names the version in the query gets each new one at once. For others an hour is how late it may come.
my ($FOR_GOOD, $FOR_AN_HOUR) = ('public, max-age=31536000, immutable', 'public, max-age=3600');

# A page of any origin may load the script: a module is fetched with CORS.
my $TYPE    = 'text/javascript; charset=utf-8';
my @HEADERS = (
    'X-Content-Type-Options'       => 'nosniff',
    'Access-Control-Allow-Origin'  => '*',
    'Cross-Origin-Resource-Policy' => 'cross-origin',
);

# Public methods

sub app {
    my ($class, @given) = @_;
    my %given  = $SETTINGS->options('script_app takes options', \@given, 'option %s of script_app', 'classic');
    my $name   = $given{classic} ? 'eventsource-hub.classic.js' : 'eventsource-hub.js';
    my $script = _forms_of(_with_query(EventSource::XS::Share->content($name)));
    my $reader = _forms_of(EventSource::XS::Share->content('eventsource-hub-reader.js'));
    return sub {
        my $env = shift;
        return _refusal($env) || _response($env, _query($env) =~ /(?:\A|&)reader(?:&|\z)/ ? $reader : $script);
    };
}

# Private functions

# The content by its coding. The same bytes in each process: memGzip writes no time.
sub _forms_of {
    my $content = shift;
    my %form    = (identity => $content, gzip => Compress::Zlib::memGzip($content));
    my $hash    = substr sha256_hex($content), 0, 32;
    return {map { ($_ => {content => $form{$_}, etag => qq{"$hash-$_"}}) } keys %form};
}

# A condition of GET and HEAD compares weakly: a proxy that compresses makes an ETag weak (RFC 9110, section 13.1.2).
sub _has_current {
    my ($condition, $etag) = @_;
    return !!0 if !defined $condition;
    return !!1 if $condition =~ /\A\s*\*\s*\z/;
    return !!grep { $_ eq $etag } $condition =~ /("[^"]*")/g;
}

sub _query { return $_[0]{QUERY_STRING} // '' }

sub _refusal {
    my $env = shift;
    my ($path, $method) = @$env{qw(PATH_INFO REQUEST_METHOD)};
    my $refusal =
          defined $path && $path !~ m{\A/?\z} ? EventSource::XS::Response->text(404, 'There is no such script')
        : $method !~ /\A(?:GET|HEAD)\z/ ? EventSource::XS::Response->text(405, 'GET or HEAD', Allow => 'GET, HEAD')
        :                                 return undef;
    return EventSource::XS::Response->for_method($method, $refusal);
}

# A query with another version is one of a page from before or after this release: its answer may not be kept for good.
sub _response {
    my ($env, $forms) = @_;
    my $coding  = EventSource::XS::Request->coding($env->{HTTP_ACCEPT_ENCODING}, 'gzip');
    my $form    = $forms->{$coding};
    my $version = EventSource::XS->VERSION;
    my $caching = _query($env) =~ /(?:\A|&)v=\Q$version\E(?:&|\z)/ ? $FOR_GOOD : $FOR_AN_HOUR;
    my @headers = (@HEADERS, 'Cache-Control' => $caching, ETag => $form->{etag}, Vary => 'Accept-Encoding');
    return [304, \@headers, []] if _has_current($env->{HTTP_IF_NONE_MATCH}, $form->{etag});
    push @headers, 'Content-Type' => $TYPE, 'Content-Length' => length $form->{content};
    push @headers, 'Content-Encoding' => $coding if $coding ne 'identity';
    return EventSource::XS::Response->for_method($env->{REQUEST_METHOD}, [200, \@headers, [$form->{content}]]);
}

# The module loads what reads streams from its own URL: that is all it knows of where it is mounted.
sub _with_query {
    my $script = shift;
    my $query  = '?reader&v=' . EventSource::XS->VERSION;
    return $script =~ s/\bquery:""/query:"$query"/r;
}

1;

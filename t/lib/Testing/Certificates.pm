package Testing::Certificates;
use Testing;

# Certificates for tests, made by openssl in a folder: an authority, and certificates that it has signed.
#
#   my $made = Testing::Certificates->new($folder);
#   my ($cert, $key) = $made->sign('server', 'IP:127.0.0.1,DNS:localhost');
#   my $ca = $made->ca;

use Carp               qw(croak);
use Testing::Developer qw(has_command);
use Testing::Program;
use Testing::SourceTree qw(write_file);

my @NEW_KEY = qw(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes);
my $DAYS    = 2;

# Returns the path of the authority's certificate.
sub ca { return "$_[0]{folder}/ca.pem" }

sub new {
    my ($class, $folder) = @_;
    my $self = bless {folder => $folder}, $class;
    my @name = ('-subj', '/CN=authority of a test', '-addext', 'keyUsage=keyCertSign');
    _openssl(qw(req -x509), @NEW_KEY, '-days', $DAYS, @name, '-keyout', "$folder/ca.key", '-out', $self->ca);
    return $self;
}

# Makes a certificate for the names, and returns its path and that of its key.
sub sign {
    my ($self, $what, $names) = @_;
    my ($path, $request) = map { "$self->{folder}/$what$_" } '', '.request';
    _openssl('req', @NEW_KEY, '-subj', "/CN=$what", '-keyout', "$path.key", '-out', $request);
    write_file("$path.extensions", "subjectAltName=$names\n");
    _openssl(
        qw(x509 -req -in),
        $request, '-CA',      $self->ca,          '-CAkey', "$self->{folder}/ca.key", qw(-CAcreateserial -days),
        $DAYS,    '-extfile', "$path.extensions", '-out',   "$path.pem"
    );
    return ("$path.pem", "$path.key");
}

# Returns why there can be no certificates; undef if there can.
sub trouble { return has_command('openssl') ? undef : 'there is no openssl here' }

sub _openssl {
    my $openssl = Testing::Program->new('openssl')->run({}, 'openssl', @_);
    croak 'Certificates: openssl: ' . $openssl->log if $openssl->wait_for_end;
    return;
}

1;

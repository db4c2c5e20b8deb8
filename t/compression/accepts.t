# The content coding that follows from Accept-Encoding (RFC 9110, section 12.5.3).

use lib 't/lib';
use Testing qw(native);
use EventSource::XS::Request;

my $CODING = 'EventSource::XS::Request';
my $BEST   = $CODING->coding('zstd, gzip');

like $BEST, qr/\A(?:gzip|zstd)\z/, 'zstd, or gzip if the library has no zstd';
for my $row (
    [undef,                                 'identity'],
    ['',                                    'identity'],
    ['gzip',                                'gzip'],
    ['GZip',                                'gzip'],
    ['x-gzip',                              'gzip'],
    ['gzip, deflate',                       'gzip'],
    ['gzip, deflate, br, zstd',             $BEST],
    ['zstd, br, deflate, gzip',             $BEST],
    ['br, deflate',                         'identity'],
    ['compress, gzip;q=0.001',              'gzip'],
    ['gzip;q=0.8, zstd;q=0.5',              'gzip'],
    ['gzip;q=1.0, zstd;q=1',                $BEST],
    ['gzip ; q=0.5 , identity ; q=0.2',     'gzip'],
    ['gzip;q=0.5, identity',                'identity'],
    ['identity',                            'identity'],
    ['identity, *;q=0',                     'identity'],
    ['gzip;q=0',                            'identity'],
    ['gzip;q=0.000',                        'identity'],
    ['*',                                   $BEST],
    ['*;q=0.1',                             $BEST],
    ['*, zstd;q=0',                         'gzip'],
    ['gzip;q=0, zstd;q=0, *',               'identity'],
    ['*;q=0',                               'identity'],
    ['identity;q=0, gzip;q=0, zstd;q=0',    'identity'],
    ['gzip;q=2',                            'identity'],
    ['gzip;q=',                             'identity'],
    ['gzip;level=9',                        'gzip'],
    [',, gzip ,',                           'gzip'],
    [';q=1, gzip',                          'gzip'],
    ['gzipped, xgzip, gzip/2',              'identity'],
    [join(',', ('br') x 10_000) . ', gzip', 'gzip'],
) {
    my ($field, $coding) = @$row;
    my $name = defined $field ? substr $field, 0, 60 : 'none';
    is $CODING->coding($field), $coding, "Accept-Encoding: $name";
}

done_testing;

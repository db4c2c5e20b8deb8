package Testing::Newest;
use Testing;

# The newest servers and frameworks, from their repositories: each test of xt/newest loads this first. EVENTSOURCE_XS_NEWEST
# names the folder of their libraries, which CONTRIBUTING says how to fill; the test is skipped without it. They come before
# those of the system, in the test and in what it starts.

use Testing::Developer qw(has_module);

BEGIN {
    my $folder = $ENV{EVENTSOURCE_XS_NEWEST}
        or plan skip_all => 'EVENTSOURCE_XS_NEWEST does not name a folder of libraries';
    my $path = "$folder/lib/perl5";
    require lib;
    lib->import($path);
    $ENV{PERL5LIB} = join ':', $path, grep { defined } $ENV{PERL5LIB};
}

# Prints the versions of the libraries that a test is about.
sub show {
    my ($class, @modules) = @_;
    for my $module (grep { has_module($_) } @modules) {
        diag "$module " . ($module->VERSION // 'of its repository');
    }
    return;
}

1;

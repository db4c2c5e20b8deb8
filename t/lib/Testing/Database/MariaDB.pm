package Testing::Database::MariaDB;
use Testing;

# A MariaDB: see Testing::Database::Server.
#
#   $database->use_driver('mysql');    # DBD::mysql instead of DBD::MariaDB, for the next connections

use parent 'Testing::Database::Server';

# Settings with which nothing is waited for: the kernel writes to the disk when it likes.
my %STORAGE = (
    'innodb-autoextend-increment' => 1,
    'innodb-buffer-pool-size'     => '16M',
    'innodb-data-file-path'       => 'ibdata1:10M:autoextend',
    'innodb-flush-method'         => 'nosync',
    'innodb-log-file-size'        => '8M',
    'innodb-use-native-aio'       => 0,
);

sub creation_of { return "CREATE USER $_[1] IDENTIFIED BY '$_[1]'" }

sub driver {
    my $self = shift;
    return ref $self && $self->{driver} || 'MariaDB';
}

sub dsn {
    my $self = shift;
    return 'dbi:' . $self->driver . ':database=testing;host=127.0.0.1;port=' . $self->port;
}

sub first_arguments { return '--no-defaults' }

sub programs { return qw(mariadbd mariadb-install-db) }

sub settings {
    my $self = shift;
    return (
        %STORAGE,
        'bind-address'                   => '127.0.0.1',
        'datadir'                        => $self->file('data'),
        'innodb-flush-log-at-trx-commit' => 2,
        'port'                           => $self->port,
        'skip-log-bin'                   => 1,
        'skip-name-resolve'              => 1,
        'socket'                         => $self->file('socket'),
    );
}

sub setup {
    my ($self, $data, $input) = @_;
    my @options = qw(--auth-root-authentication-method=normal --skip-name-resolve --skip-test-db);
    my @storage = map { "--$_=$STORAGE{$_}" } sort keys %STORAGE;
    return ('mariadb-install-db', '--no-defaults', "--datadir=$data", "--extra-file=$input", @options, @storage);
}

sub setup_input {
    my $self = shift;
    my ($user, $password) = ($self->user, $self->password);
    return <<"END";
FLUSH PRIVILEGES;
CREATE DATABASE testing CHARACTER SET utf8mb4;
CREATE USER $user IDENTIFIED BY '$password';
GRANT ALL ON *.* TO $user WITH GRANT OPTION;
END
}

sub unicode { return $_[0]->driver eq 'mysql' ? (mysql_enable_utf8mb4 => 1) : () }

sub use_driver {
    my ($self, $driver) = @_;
    $self->{driver} = $driver;
    return;
}

1;
